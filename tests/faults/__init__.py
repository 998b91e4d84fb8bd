"""What becomes of each command's files when it is killed, when the disk is full, and when two run at once.

python -m tests.faults --kills 300 --seed 1     # an hour; writes docs/reliability.md
"""
