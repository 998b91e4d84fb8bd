"""What tests of several files use: toy models, tickets taken apart, little files of data."""
