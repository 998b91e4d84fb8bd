"""A laboratory: what masks are, and what of them matters. Functions on tickets; the commands that call them are in cli/."""
