"""Corpora into binarised fairseq data folders: one recipe a corpus, and the shared library `data_prep.lib`.

bash data_prep/multi30k.sh --help
"""
