"""Runs, tickets and results as one page to look at: what is gathered, its charts, and the page."""
