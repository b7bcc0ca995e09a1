"""Neural exchange-correlation functionals with DeepChem's datasets, models and metrics.

Names are imported on first use, so ``import deepchem_dft`` costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # the same names, for editors and type checkers
    from . import errors, molnet, parallel, zoo
    from .data import DFTEntry, DFTSystem, DFTYamlLoader
    from .equilibrium import DEQLayer, fixed_point
    from .models import DEQModel, HamiltonianModel, KSRModel, XCModel
    from .molecule import Molecule
    from .scf import XCNNSCF, KohnSham, KSCalc, KSResult, SCFLayer
    from .xc import NNLDA, NNMGGA, NNPBE, HybridXC, Libxc

# PySCF runs a file .pyscf_conf.py of the working folder when it is imported, and the folder may be
# a stranger's. One in the home folder, and one named by the variable, stay in force.
if "PYSCF_CONFIG_FILE" not in os.environ:
    _home = Path(os.path.expanduser("~"), ".pyscf_conf.py")
    os.environ["PYSCF_CONFIG_FILE"] = str(
        _home if _home.is_file() else Path(__file__).with_name("pyscf_settings.py"))

#: Room of every public name.
_ROOMS = {
    "Molecule": "molecule",
    "Libxc": "xc",
    "NNLDA": "xc",
    "NNPBE": "xc",
    "NNMGGA": "xc",
    "HybridXC": "xc",
    "fixed_point": "equilibrium",
    "DEQLayer": "equilibrium",
    "KohnSham": "scf",
    "KSResult": "scf",
    "SCFLayer": "scf",
    "XCNNSCF": "scf",
    "KSCalc": "scf",
    "DFTYamlLoader": "data",
    "DFTEntry": "data",
    "DFTSystem": "data",
    "DEQModel": "models",
    "HamiltonianModel": "models",
    "KSRModel": "models",
    "XCModel": "models",
}
_MODULES = ("errors", "molnet", "parallel", "zoo")

__all__ = [
    "DEQLayer",
    "DEQModel",
    "DFTEntry",
    "DFTSystem",
    "DFTYamlLoader",
    "HamiltonianModel",
    "HybridXC",
    "KSCalc",
    "KSRModel",
    "KSResult",
    "KohnSham",
    "Libxc",
    "Molecule",
    "NNLDA",
    "NNMGGA",
    "NNPBE",
    "SCFLayer",
    "XCModel",
    "XCNNSCF",
    "__version__",
    "errors",
    "fixed_point",
    "molnet",
    "parallel",
    "zoo",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{room}"), name)
    globals()[name] = value  # later look-ups skip this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
