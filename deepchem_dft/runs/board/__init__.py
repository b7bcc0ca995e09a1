"""Functionals judged on a board: errors by type and set beside published ones, weighted totals, cost."""
