"""Commands on molecules of one's own: one or many of them, reactions, frequencies."""
