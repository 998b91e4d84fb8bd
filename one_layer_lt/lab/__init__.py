"""Experiments on masks: what random networks hold, what masks look like, and what they would be by chance."""
