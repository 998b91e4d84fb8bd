"""What scripts/science.py measures."""
