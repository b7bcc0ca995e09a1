"""Runs on Kohn-Sham matrices (``model: hamiltonian``)."""
