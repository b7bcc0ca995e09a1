"""The energy at fixed orbitals: what training needs once the field is self-consistent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from deepchem_dft.molecule import Molecule
from deepchem_dft.scf.hamiltonian import FockBuild, KSHamiltonian
from deepchem_dft.scf.parts import Quadratures, components
from deepchem_dft.scf.state import SCFState
from deepchem_dft.torchstate import unaffected
from deepchem_dft.xc.base import NCOMP, XCFunctional
from deepchem_dft.xc.dispersion import Nuclei


@dataclass
class FrozenDensity:
    """A density on the grid with the part of its energy no functional parameter can change.

    At convergence the energy is stationary in the orbitals, so its gradient with respect to
    functional parameters is the explicit one at fixed density matrix (Hellmann-Feynman).

    Attributes
    ----------
    rho : Tensor, shape (nspin, ncomp, G)
    quadratures : Quadratures
        What the points of ``rho`` are.
    fixed_energy : float
        Kinetic, nuclear, Coulomb energy, Ha.
    exchange : dict
        Exact-exchange energy at unit coefficient, Ha, by range parameter omega (None: full range).
    nuclei : Nuclei
        For dispersion energies.
    """

    rho: Tensor
    quadratures: Quadratures
    fixed_energy: float
    exchange: dict[float | None, float]
    nuclei: Nuclei
    # The functional that was asked for last, the energies of its parts and of its dispersion here.
    _prepared: tuple[XCFunctional, list[Callable[[], Tensor]], Callable[[], Tensor]] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_prepared": None}  # a copy may come with a copied functional

    @classmethod
    def from_evaluation(cls, hamiltonian: KSHamiltonian, evaluation: FockBuild) -> "FrozenDensity":
        """Keep what an energy evaluation has computed anyway."""
        return cls(
            evaluation.rho,
            hamiltonian.quadratures,
            evaluation.fixed_energy,
            dict(evaluation.exchange),
            hamiltonian.nuclei,
        )

    @classmethod
    def from_state(cls, molecule: Molecule, xc: XCFunctional, state: SCFState) -> "FrozenDensity":
        """Evaluate stored orbitals (one Fock build)."""
        hamiltonian = KSHamiltonian(molecule, xc, restricted=state.restricted)
        evaluation = hamiltonian.evaluate(
            state.orbitals.to(hamiltonian.device), state.occupations.to(hamiltonian.device)
        )
        return cls.from_evaluation(hamiltonian, evaluation)

    def reduced(self, parts: Sequence[XCFunctional]) -> "FrozenDensity":
        """Return what some parts of functionals need, without the other quadratures and components."""
        wanted = sorted({self.quadratures.place(part) for part in parts})
        kept = [self.quadratures.parts[place] for place in wanted]
        places = {part.grid_level: wanted.index(self.quadratures.place(part)) for part in parts}
        rows = max(NCOMP[part.family] for part in parts)
        spans = [self.quadratures.span(place) for place in wanted]
        rho = torch.cat([self.rho[:, :rows, span] for span in spans], dim=2)
        return replace(self, rho=rho, quadratures=Quadratures(kept, places))

    @property
    def weights(self) -> Tensor:
        """Quadrature weights, shape (G,), Bohr^3."""
        return self.quadratures.weights

    def at_density(self, part: XCFunctional) -> Callable[[], Tensor]:
        """Return the energy (Ha) of a part of a functional here, as a function of its parameters."""
        span, quadrature = self.quadratures.of(part)
        return part.at_density(self.rho[:, :, span], quadrature)

    def serves(self, xc: XCFunctional) -> bool:
        """True if these components, quadratures and exchange energies are all the functional needs."""
        enough = self.rho.shape[1] >= components(xc) and self.quadratures.serve(xc)
        return enough and all(omega in self.exchange for _, omega in _acting(xc))

    @unaffected
    def energy(self, xc: XCFunctional) -> Tensor:
        """Total energy (Ha) at this density, differentiable in the functional's parameters."""
        if self._prepared is None or self._prepared[0] is not xc:
            parts = [self.at_density(part) for part in (xc, *xc.nonlocal_terms)]
            self._prepared = xc, parts, xc.dispersion_at([self.nuclei])
        _, parts, dispersion = self._prepared
        total = torch.stack([energy() for energy in parts]).sum() + self.fixed_energy
        total = total + dispersion()[0].to(total.device)
        for coefficient, omega in _acting(xc):
            # A number of Python's alone would become a tensor of single precision.
            share = torch.as_tensor(coefficient, dtype=torch.float64)
            total = total + share * self.exchange[omega]
        return total


def _acting(xc: XCFunctional) -> list[tuple[float | Tensor, float | None]]:
    """Exchange terms that contribute now or may be trained to."""
    return [
        (c, omega)
        for c, omega in xc.exchange_terms
        if (isinstance(c, Tensor) and c.requires_grad) or float(c) != 0.0
    ]
