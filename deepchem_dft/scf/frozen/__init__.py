"""Densities that stay as they are while a functional is trained: whole, binned, and how far they move."""
