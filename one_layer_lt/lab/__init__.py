"""A laboratory: what of a ticket's masks matters. Functions on tickets, for the commands in cli/ alone."""
