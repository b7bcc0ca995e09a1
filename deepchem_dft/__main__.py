"""Lets ``python -m deepchem_dft`` stand for the ``deepchem-dft`` command."""

from deepchem_dft.cli import main

if __name__ == "__main__":
    main()
