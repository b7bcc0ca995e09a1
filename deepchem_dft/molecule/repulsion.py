"""Electron repulsion of a molecule: Coulomb and exchange matrices, exact or from fitted densities."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.molecule import integrals
from deepchem_dft.molecule.constants import Constants
from deepchem_dft.molecule.fitting import FittingBasis, contract
from deepchem_dft.molecule.memory import packed_bytes
from deepchem_dft.molecule.tensors import MatrixFile
from deepchem_dft.torchstate import stacklevel, unaffected


class ElectronRepulsion:
    """What repulsion needs of a molecule, and the matrices it gives.

    Attributes
    ----------
    pyscf_mol : pyscf.gto.Mole
    fitting : FittingBasis or None
        None for exact integrals.
    name : str
        For messages.
    """

    pyscf_mol: Any
    fitting: FittingBasis | None
    name: str
    _constants: Constants

    @property
    def nao(self) -> int:
        """Number of atomic orbitals."""
        return int(self.pyscf_mol.nao_nr())

    def _eri(self, omega: float | None) -> np.ndarray:
        return self._constants.integrals(
            _part("eri", omega),
            packed_bytes(self.nao),
            self.name,
            lambda: integrals.electron_repulsion(self.pyscf_mol, omega),
        )

    def _three_index(self, basis: FittingBasis, omega: float | None) -> np.ndarray | MatrixFile:
        mole = self.pyscf_mol
        return self._constants.matrix(
            _part(f"fit-{basis.key}", omega),
            4 * basis.size * self.nao * (self.nao + 1),
            self.name,
            lambda: integrals.three_index(mole, basis.data, omega),
            lambda scratch: integrals.three_index_rows(mole, basis.data, omega, scratch),
        )

    @unaffected
    def _contract(
        self,
        dms: Tensor,
        coulomb: bool,
        exchange: bool,
        omega: float | None = None,
        occupied: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        stacked = dms.detach().cpu().reshape(-1, *dms.shape[-2:])
        if self.fitting is None:
            found = integrals.coulomb_exchange(self._eri(omega), stacked.numpy(), coulomb, exchange)
            pair = [torch.from_numpy(matrix) for matrix in found if matrix is not None]
        else:
            if exchange and self.fitting.coulomb_only:
                warnings.warn(
                    f"the fitting basis {self.fitting.name} is for Coulomb energies only: exact "
                    "exchange may be far off; density_fit=True chooses one for both",
                    stacklevel=stacklevel(4),
                )
            if occupied is not None:
                occupied = [c.detach().cpu() for c in occupied]
            pair = contract(self._three_index(self.fitting, omega), stacked, coulomb, exchange, occupied)
        return [matrix.reshape(dms.shape).to(dms.device) for matrix in pair]

    def coulomb(self, dms: Tensor) -> Tensor:
        """Coulomb matrices ``J_ij = sum_kl (ij|kl) D_kl``, Ha.

        Parameters
        ----------
        dms : Tensor, shape (nao, nao) or (n, nao, nao)
            Symmetric.

        Returns
        -------
        Tensor, same shape. Not differentiable.
        """
        return self._contract(dms, True, False)[0]

    def exchange(
        self, dms: Tensor, omega: float | None = None, occupied: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Exchange matrices ``K_ij = sum_kl (ik|jl) D_kl``, Ha.

        Parameters
        ----------
        dms : Tensor, shape (nao, nao) or (n, nao, nao)
            Symmetric.
        omega : float, optional
            Use the long-range operator erf(omega r)/r (omega in 1/Bohr).
        occupied : sequence of n Tensors, shape (nao, nocc), optional
            ``C`` with ``D = C C^T`` where they are known, which saves fitted exchange a step.

        Returns
        -------
        Tensor, same shape. Not differentiable.
        """
        return self._contract(dms, False, True, omega, occupied)[0]

    def coulomb_exchange(
        self, dms: Tensor, occupied: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return :meth:`coulomb` and :meth:`exchange` from one pass over the integrals."""
        coulomb, exchange = self._contract(dms, True, True, occupied=occupied)
        return coulomb, exchange


def _part(kind: str, omega: float | None) -> str:
    return kind if omega is None else f"{kind}-{omega:.8g}"
