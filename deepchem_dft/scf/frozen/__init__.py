"""Densities that stay as they are: while a functional is trained (whole, binned), or as they were given."""
