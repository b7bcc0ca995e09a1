"""Kohn-Sham density functional theory on a one-dimensional grid, and its exact reference data."""
