"""Exchange-correlation functionals: conventional, neural, and their sums."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepchem_dft.xc.base import XCFunctional
    from deepchem_dft.xc.enhancement import EnhancedXC
    from deepchem_dft.xc.ensemble import EnsembleXC
    from deepchem_dft.xc.hybrid import HybridXC
    from deepchem_dft.xc.lda import SlaterPW92
    from deepchem_dft.xc.libxc import Libxc
    from deepchem_dft.xc.names import get_xc
    from deepchem_dft.xc.networks import build_network, deepchem_network
    from deepchem_dft.xc.neural import NNLDA, NNMGGA, NNPBE
    from deepchem_dft.xc.pbe import PBE

_HOME = {
    "XCFunctional": "base",
    "EnhancedXC": "enhancement",
    "EnsembleXC": "ensemble",
    "HybridXC": "hybrid",
    "SlaterPW92": "lda",
    "Libxc": "libxc",
    "get_xc": "names",
    "build_network": "networks",
    "deepchem_network": "networks",
    "NNLDA": "neural",
    "NNPBE": "neural",
    "NNMGGA": "neural",
    "PBE": "pbe",
}
__all__ = [
    "NNLDA", "NNMGGA", "NNPBE", "PBE", "EnhancedXC", "EnsembleXC", "HybridXC", "Libxc",
    "SlaterPW92", "XCFunctional", "build_network", "deepchem_network", "get_xc",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
