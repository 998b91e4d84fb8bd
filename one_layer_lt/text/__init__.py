"""Text as models read it: its lines, tokens and subwords, and the record of how they were made."""
