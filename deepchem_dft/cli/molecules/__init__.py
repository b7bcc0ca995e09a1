"""Commands on molecules of one's own: reactions and atomisations."""
