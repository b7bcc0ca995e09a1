"""Files of Hamiltonians: MD17 (ASE databases), QH9 (SQLite), HDF5; and geometries to make more."""
