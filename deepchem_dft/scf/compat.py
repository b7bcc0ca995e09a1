"""DeepChem's names for a Kohn-Sham calculation: ``XCNNSCF(xc, entry).run(system) -> KSCalc``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deepchem_dft.scf.layer import SCFLayer
from deepchem_dft.scf.result import KSResult
from deepchem_dft.xc.base import XCFunctional


class KSCalc:
    """A finished calculation under DeepChem's method names.

    Parameters
    ----------
    result : KSResult
    """

    def __init__(self, result: KSResult) -> None:
        self.result = result

    def energy(self) -> Tensor:
        """Total energy, Ha."""
        return self.result.energy

    def aodmtot(self) -> Tensor:
        """Spin-summed density matrix, shape (nao, nao)."""
        return self.result.total_density_matrix

    def dens(self, rgrid: Any) -> Tensor:
        """Electron density (1/Bohr^3) at points (G, 3) in Bohr."""
        return self.result.density(rgrid)

    def force(self) -> Tensor:
        """Forces on the nuclei, shape (natom, 3), Ha/Bohr."""
        return self.result.forces()


class XCNNSCF(torch.nn.Module):
    """Run systems of an entry with a functional, under DeepChem's names.

    Parameters
    ----------
    xc : XCFunctional
    entry : DFTEntry, optional
        Kept for DeepChem's signature.
    tol, grid_level
        Convergence threshold (Ha) and PySCF grid level.
    device : str or torch.device, optional
        Where the functional goes; matrices of a field follow it. Default: it stays where it is.
    """

    def __init__(
        self,
        xc: XCFunctional,
        entry: Any = None,
        *,
        tol: float = 1e-6,
        grid_level: int = 3,
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__()
        self.layer = SCFLayer(xc if device is None else xc.to(device), tol=tol)
        self.entry, self.grid_level = entry, grid_level

    @property
    def xc(self) -> XCFunctional:
        """The functional."""
        return self.layer.xc

    def get_xc(self) -> XCFunctional:
        """Return the functional (DeepChem's spelling)."""
        return self.layer.xc

    def run(self, system: Any) -> KSCalc:
        """Solve one system.

        Parameters
        ----------
        system : DFTSystem

        Returns
        -------
        KSCalc

        Raises
        ------
        SCFNotConverged
            Rather than returning a number that means nothing.
        """
        return KSCalc(self.layer(system.to_molecule(grid_level=self.grid_level)))
