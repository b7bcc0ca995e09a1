"""Functionals that look beyond single points of the density."""
