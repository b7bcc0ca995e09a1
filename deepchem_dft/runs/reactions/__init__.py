"""Reactions of one's own molecules: equations, and their energies with uncertainties."""
