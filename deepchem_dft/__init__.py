"""Neural exchange-correlation functionals with DeepChem's datasets, models and metrics.

Names are imported on first use, so ``import deepchem_dft`` costs nothing.
"""

import os
from pathlib import Path

import lazy_loader

from deepchem_dft.needs import hush_deepchem

__version__ = "0.2.0"

hush_deepchem()

# PySCF runs a file .pyscf_conf.py of the working folder when it is imported, and the folder may be
# a stranger's. One in the home folder, and one named by the variable, stay in force.
if "PYSCF_CONFIG_FILE" not in os.environ:
    _home = Path(os.path.expanduser("~"), ".pyscf_conf.py")
    os.environ["PYSCF_CONFIG_FILE"] = str(
        _home if _home.is_file() else Path(__file__).with_name("pyscf_settings.py")
    )

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
