"""Molecules, functionals and calculations of PySCF that its tests share."""

import numpy as np
import torch
from pyscf import gto
from torch import nn

from deepchem_dft.xc.enhancement import EnhancedXC
from deepchem_dft.xc.ensemble import EnsembleXC
from deepchem_dft.xc.hybrid import HybridXC
from deepchem_dft.xc.names import get_xc
from deepchem_dft.xc.neural import NNLDA

WATER = "O 0 0 0.2217; H 0 1.4309 -0.8867; H 0 -1.4309 -0.8867"
SYSTEMS = {"H2O": (WATER, 0), "NH": ("N 0 0 0; H 0 0 1.96", 2)}


def net(inputs: int) -> nn.Module:
    """An untrained network, the same at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(inputs, 8), nn.SiLU(), nn.Linear(8, 1)).double()


FUNCTIONALS = {
    "nn-lda": lambda: NNLDA(net(2)),
    "nn-gga": lambda: HybridXC("pbe", net(3), aweight0=0.05),
    "nn-mgga": lambda: HybridXC("r2scan", net(4), aweight0=0.05),
    "nn-hybrid": lambda: HybridXC("pbe0", net(4), aweight0=0.05, family="mgga"),
    "nn-range-separated": lambda: HybridXC("camb3lyp", net(3), aweight0=0.05),
    "short-range": lambda: get_xc("hse06"),
    "exact-exchange": lambda: get_xc("hf"),
    "ensemble": lambda: EnsembleXC([HybridXC("pbe", net(3), aweight0=0.05), "pbe0"]),
    "native": lambda: get_xc("native:pbe"),
    "enhanced": lambda: enhanced("r2scan"),
    "enhanced-hybrid": lambda: HybridXC(None, enhanced("pbe", exchange=0.25), aweight0=1.0),
}


def enhanced(parent: str, **options) -> EnhancedXC:
    """An untrained functional with factors of some per cent."""
    return EnhancedXC(parent, hidden=[6], zero_last=False, seed=1, **options)


def mole(basis="sto-3g", geometry=WATER, **options):
    return gto.M(atom=geometry, unit="bohr", basis=basis, verbose=0, **options)


def tight(mf, level=0):
    """Converge further, on the whole grid: PySCF before 2.12 drops points of small density."""
    mf.grids.level = level
    mf.small_rho_cutoff = 0.0
    return mf.set(conv_tol=1e-12, conv_tol_grad=1e-7)


def densities(nspin: int, rows: int, points: int = 12) -> np.ndarray:
    """Return densities such as molecules have, shape (nspin, rows, points)."""
    rng = np.random.default_rng(3)
    rho = rng.normal(size=(nspin, rows, points))
    rho[:, 0] = 0.02 + 0.4 * rho[:, 0] ** 2
    if rows == 5:
        weizsaecker = (rho[:, 1:4] ** 2).sum(1) / (8 * rho[:, 0])
        rho[:, 4] = weizsaecker * (1.1 + rho[:, 4] ** 2)
    return rho
