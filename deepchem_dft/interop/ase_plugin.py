"""What ASE finds of this package by its entry point ``ase.plugins``: ``ase info --calculators``."""

try:
    from ase._4.plugins.plugin import CalculatorPlugin
except ImportError:  # before 3.28 ASE looks for nothing
    __ase_plugins__: set = set()
else:
    __ase_plugins__ = {
        CalculatorPlugin(
            "deepchem_dft",
            citation="deepchem_dft",
            implementation="deepchem_dft.interop.ase.KohnShamCalculator",
        )
    }
