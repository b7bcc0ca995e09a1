"""A density held fixed while the functional is trained, and how far it would move if let go."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deepchem_dft.molecule import Molecule
from deepchem_dft.scf.frozen.binned import BinnedDensities, bin_density, kept_whole
from deepchem_dft.scf.frozen.density import FrozenDensity
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.result import KSResult
from deepchem_dft.scf.rotations import mixing
from deepchem_dft.scf.state import SCFState
from deepchem_dft.xc import HybridXC
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.neural import NeuralXC

# Finer than for thousands of epochs at one density: gradients are to be those of the solution.
_WIDTHS = (0.02, 0.01, 0.01, 0.01)
# Merged points must give the energy to this (Ha), or the network is too rough for merging.
_MERGING_ERROR = 1e-5
# Gaps (Ha) below this say nothing about how stiff the orbitals are.
_GAP_FLOOR = 0.05


@dataclass
class ReferencePotential:
    """What is known of a functional at the moment a density was solved with it.

    Attributes
    ----------
    potential : Tensor, shape (nspin, nmo, nmo), Ha
        The part of the Fock matrix that training changes, on the coarse grid, between orbitals.
    gaps : Tensor, shape (nspin, nmo, nmo), Ha
        Differences of orbital energies.
    offset : float or None
        Error of the energy on merged points, Ha; None where points are not merged.
    """

    potential: Tensor
    gaps: Tensor
    offset: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for a checkpoint."""
        return dict(self.__dict__)


class FrozenSolution:
    """Energies of a changing functional at one fixed density; make one with :meth:`of`.

    Where the functional's network sees nothing but (n, xi, s, alpha), grid points that agree in
    these are merged, so that an evaluation costs milliseconds whatever the molecule.

    Attributes
    ----------
    reference : ReferencePotential
        All that cannot be made again from the orbitals.

    Examples
    --------
    >>> from deepchem_dft.scf import KohnSham
    >>> from deepchem_dft.xc import build_network
    >>> xc = HybridXC("lda,pw", build_network(family="lda", zero_last=False, seed=0), 0.1)
    >>> held = FrozenSolution.of(KohnSham(Molecule("He 0 0 0", "6-31g", grid_level=1), xc).run(), xc)
    >>> held.drift(xc)
    0.0
    >>> with torch.no_grad(): _ = xc.aweight.add_(0.5)
    >>> 1e-8 < held.drift(xc) < 1e-3
    True
    """

    def __init__(
        self,
        molecule: Molecule,
        xc: XCFunctional,
        state: SCFState,
        frozen: FrozenDensity,
        reference: ReferencePotential | None,
    ) -> None:
        self._molecule, self._restricted = molecule, state.restricted
        coarse = self._coarse(xc)
        self._orbitals = state.orbitals.to(coarse.device)
        self._occupations = state.occupations.to(coarse.device)
        self._rho = coarse.density_of_orbitals(self._orbitals, self._occupations)
        self._exchange = self._trainable_exchange(xc)
        self._whole: FrozenDensity | None = frozen
        self._merged: BinnedDensities | None = None
        if _mergeable(xc) and (reference is None or reference.offset is not None):
            self._merged = BinnedDensities([bin_density(frozen, xc, _WIDTHS)])  # type: ignore[arg-type]
        if reference is not None:
            self.reference = reference

    @classmethod
    def of(cls, result: KSResult, xc: XCFunctional) -> "FrozenSolution":
        """Hold the density of a solution, whose functional's parameters have not changed since."""
        held = cls(result.molecule, xc, result.state, result.frozen, None)
        with torch.no_grad():
            offset = None
            if held._merged is not None:
                offset = float(result.frozen.energy(xc) - held._merged.energies(xc)[0])
                if abs(offset) > _MERGING_ERROR:
                    offset = held._merged = None
            energies = result.orbital_energies
            gaps = energies[:, :, None] - energies[:, None, :]
            held.reference = ReferencePotential(held._potential(xc), gaps, offset)
        held._forget()
        return held

    @classmethod
    def restored(
        cls, molecule: Molecule, xc: XCFunctional, state: SCFState, reference: ReferencePotential
    ) -> "FrozenSolution":
        """Hold again, after a resume, what ``reference`` belongs to (one Fock build)."""
        held = cls(molecule, xc, state, FrozenDensity.from_state(molecule, xc, state), reference)
        held._forget()
        return held

    def _forget(self) -> None:
        if self._merged is not None:
            self._whole = None  # the merged points do

    def energy(self, xc: XCFunctional) -> Tensor:
        """Total energy (Ha) at this density, differentiable in the functional's parameters."""
        if self._merged is not None:
            assert self.reference.offset is not None
            return self._merged.energies(xc)[0] + self.reference.offset
        assert self._whole is not None
        return self._whole.energy(xc)

    @torch.no_grad()
    def drift(self, xc: XCFunctional) -> float:
        """Estimate by how much the energy would fall if the orbitals relaxed, Ha.

        The change of the potential since the solution, between occupied and empty orbitals,
        against their gaps: second-order perturbation theory without the response of the density,
        on the coarse grid.
        """
        change = self._potential(xc) - self.reference.potential
        moved = mixing(self._occupations).clamp_min(0.0)  # f_q - f_p, each pair once
        gaps = self.reference.gaps.to(change.device).abs().clamp_min(_GAP_FLOOR)
        return float((moved * change.square() / gaps).sum())

    def _coarse(self, xc: XCFunctional) -> KSHamiltonian:
        return KSHamiltonian(self._molecule, xc, self._restricted, grid=self._molecule.coarse_grid)

    def _potential(self, xc: XCFunctional) -> Tensor:
        coarse = self._coarse(xc)
        _, weighted, _ = coarse.xc_potential(self._rho)
        matrix = coarse.matrix_of_potential(weighted)
        for coefficient, omega in xc.exchange_terms:
            if omega in self._exchange:
                share = 2.0 * coarse.exchange_share * float(coefficient)
                matrix = matrix - share * self._exchange[omega]
        return self._orbitals.mT @ matrix @ self._orbitals

    def _trainable_exchange(self, xc: XCFunctional) -> dict[float | None, Tensor]:
        """Exchange matrices of this density whose coefficients training may change."""
        density = (self._orbitals * self._occupations[:, None, :]) @ self._orbitals.mT
        return {
            omega: self._molecule.exchange(density, omega)
            for c, omega in xc.exchange_terms
            if isinstance(c, Tensor) and c.requires_grad
        }


def _mergeable(xc: XCFunctional) -> bool:
    """True if the network sees only features that merging keeps, without the sign of xi."""
    if not isinstance(xc, HybridXC) or kept_whole(xc):
        return False
    return isinstance(xc.nnxc, NeuralXC) and xc.nnxc.spin_symmetric
