"""A laboratory: what of a ticket's masks matters, and what random networks hold. For commands and scripts alone."""
