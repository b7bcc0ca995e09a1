"""Networks that predict Kohn-Sham Hamiltonians, and the data they learn from."""
