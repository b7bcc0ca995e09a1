"""Kohn-Sham energy and Fock matrix as functions of the orbitals."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from deepchem_dft.errors import FunctionalError, InputError
from deepchem_dft.molecule import Molecule
from deepchem_dft.molecule.elements import NUCLEAR_CHARGE
from deepchem_dft.molecule.grid import MolecularGrid
from deepchem_dft.scf.parts import grids_of
from deepchem_dft.scf.quadrature import XCKernel, XCQuadrature, device_of, occupied_of
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.dispersion import Nuclei


@dataclass
class FockBuild:
    """Energy (Ha) and Fock matrices at one set of orbitals."""

    energy: float
    fock: Tensor  # (nspin, nao, nao)
    rho: Tensor  # (nspin, ncomp, G)
    fixed_energy: float  # everything but exchange-correlation and dispersion, Ha
    #: -1/2 sum_s tr(D_s K[D_s]) in Ha by range omega, as far as it was needed.
    exchange: dict[float | None, float]
    #: Dispersion energy, Ha: part of ``energy``.
    dispersion: float = 0.0
    #: Derivative of the semilocal energy with respect to every trainable parameter, if asked for.
    slopes: list[Tensor] | None = None


class KSHamiltonian(XCQuadrature):
    """Everything between orbitals and Fock matrix for one molecule and one functional.

    With ``restricted`` there is one channel holding the spin-summed density; every formula is
    written for ``F = dE/dD`` and serves both cases.

    Parameters
    ----------
    molecule : Molecule
    xc : XCFunctional
    restricted : bool or None
        None: as the molecule says; else restricted for closed shells if the functional is
        spin-symmetric.
    device : torch.device or str, optional
        Where matrices live (integrals come from the CPU). Default: where the functional's
        parameters are.
    grid : MolecularGrid, optional
        Quadrature of all parts of the functional; default the molecule's own, and for nonlocal
        parts those they ask for.

    Raises
    ------
    InputError
        If ``restricted`` is asked for and impossible.
    """

    #: Called after every step of a solver with the energy and the largest Fock element between orbitals of
    #: different occupation, both Ha.
    watch: Callable[[float, float], None] | None = None

    def __init__(
        self,
        molecule: Molecule,
        xc: XCFunctional,
        restricted: bool | None = None,
        device: torch.device | str | None = None,
        grid: MolecularGrid | None = None,
    ) -> None:
        if molecule.surroundings is not None:
            raise InputError(
                f"the native, differentiable engine does not know {molecule.surroundings.description}",
                field="surroundings",
                remedy="use KohnSham, optimize or ASE's calculator, which have PySCF solve such fields; "
                "train without surroundings",
            )
        closed = molecule.nelec[0] == molecule.nelec[1] and (
            molecule.occupations is None or molecule.occupations[0] == molecule.occupations[1]
        )
        if restricted is None:
            restricted = molecule.restricted
        if restricted is None:
            restricted = closed and xc.spin_symmetric
        elif restricted and not closed:
            raise InputError(
                f"{molecule.name} has {molecule.spin:g} unpaired electrons and cannot be run restricted",
                field="restricted",
                remedy="use restricted=None or False",
            )
        elif restricted and not xc.spin_symmetric:
            raise InputError(
                "a functional that is not spin-symmetric cannot be run restricted",
                field="restricted",
                remedy="use restricted=None, or spin_symmetric=True networks",
            )
        if any(p.is_inference() for p in xc.parameters()):
            raise FunctionalError(
                "the functional's parameters were made under torch.inference_mode(), and cannot be "
                "differentiated",
                field="functional",
                remedy="make its network outside of it",
            )
        super().__init__(
            xc,
            *grids_of(molecule, xc, grid),
            molecule.nao,
            1 if restricted else 2,
            torch.device(device or device_of(xc)),
        )
        self.chosen_grid = grid
        self.molecule, self.restricted = molecule, bool(restricted)
        #: Whether the energy will be differentiated: solvers then have slopes computed on the way.
        self.differentiate = torch.is_grad_enabled() and bool(self.parameters)
        self.overlap = molecule.overlap.to(self.device)
        self.core = molecule.core_hamiltonian.to(self.device)
        # E_x = -c * share * sum_s tr(D_s K[D_s]) and F = -2 c * share * K, share per channel.
        self.exchange_share = 0.25 if restricted else 0.5

    def __reduce__(self) -> tuple:
        # To another process go the recipe and the functional; constants are made again there.
        return _rebuilt, (
            self.molecule,
            self.xc,
            self.restricted,
            self.device,
            self.chosen_grid is not None,
            self.grid.level,
            self.differentiate,
        )

    def exchange_terms(self) -> list[tuple[float, float | None]]:
        """Exact-exchange coefficients as plain numbers."""
        with torch.no_grad():
            return [(float(c), omega) for c, omega in self.xc.exchange_terms]

    def tell(self, energy: float, residual: float) -> None:
        """Tell whoever watches of a step."""
        if self.watch is not None:
            self.watch(energy, residual)

    # -- energy and Fock matrix ---------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self, orbitals: Tensor, occupations: Tensor, slopes: bool = False) -> FockBuild:
        """Energy and Fock matrices of a determinant.

        Parameters
        ----------
        orbitals : Tensor, shape (nspin, nao, nmo)
        occupations : Tensor, shape (nspin, nmo)
        slopes : bool
            Also differentiate with respect to the functional's parameters, which costs little
            here and a whole evaluation later.

        Raises
        ------
        FunctionalError
            If the functional returns a value that is not a finite number.
        """
        density = (orbitals * occupations[:, None, :]) @ orbitals.mT
        rho = self.density_of_orbitals(orbitals, occupations)
        return self._assemble(density, rho, slopes, occupied_of(orbitals, occupations))

    @torch.no_grad()
    def evaluate_matrix(self, density: Tensor) -> FockBuild:
        """Energy and Fock matrices of any density matrices, shape (nspin, nao, nao)."""
        return self._assemble(density, self.density_of_matrix(density))

    def _assemble(
        self, density: Tensor, rho: Tensor, slopes: bool = False, occupied: list[Tensor] | None = None
    ) -> FockBuild:
        evaluation = self.mean_field(density, occupied)
        energy, potential, evaluation.slopes = self.xc_potential(rho, slopes)
        self.add_xc(evaluation, rho, energy, potential, self.matrix_of_potential(potential))
        return evaluation

    def mean_field(self, density: Tensor, occupied: list[Tensor] | None = None) -> FockBuild:
        """Energy and Fock matrices without semilocal exchange-correlation, and without ``rho``.

        Parameters
        ----------
        density : Tensor, shape (nspin, nao, nao)
        occupied : list of Tensor, optional
            Orbitals of each channel with ``D = C C^T``, where they are known.
        """
        total = density.sum(0)
        terms = self.exchange_terms()
        vk = None
        if any(omega is None and c != 0.0 for c, omega in terms):
            # One pass over the integrals gives both, for all channels.
            vj, vk = self.molecule.coulomb_exchange(density, occupied)
            coulomb = vj.sum(0)
        else:
            coulomb = self.molecule.coulomb(total)
        fixed = (
            float((total * self.core).sum() + 0.5 * (total * coulomb).sum()) + self.molecule.nuclear_repulsion
        )
        fock = (self.core + coulomb).expand(self.nspin, -1, -1).clone()

        energy, exchange = fixed, {}
        for coefficient, omega in terms:
            if coefficient == 0.0 and not self._trainable_exchange:
                continue
            if omega is None and vk is not None:
                k = vk
            else:
                k = self.molecule.exchange(density, omega, occupied)
            bare = -self.exchange_share * float((density * k).sum())
            exchange[omega] = bare
            energy += coefficient * bare
            fock -= 2.0 * coefficient * self.exchange_share * k
        dispersion = self.dispersion_energy()
        return FockBuild(energy + dispersion, fock, density.new_empty(0), fixed, exchange, dispersion)

    @cached_property
    def nuclei(self) -> Nuclei:
        """What dispersion depends on."""
        numbers = [NUCLEAR_CHARGE[symbol] for symbol in self.molecule.symbols]
        return Nuclei.of(numbers, self.molecule.positions, self.molecule.charge)

    def dispersion_energy(self) -> float:
        """Return the functional's dispersion energy with its present parameters, Ha."""
        with torch.no_grad():
            return float(self._dispersion()[0])

    @cached_property
    def _dispersion(self) -> Callable[[], Tensor]:
        return self.xc.dispersion_at([self.nuclei])

    def add_xc(
        self, evaluation: FockBuild, rho: Tensor, energy: float, potential: Tensor, matrix: Tensor
    ) -> None:
        """Complete what :meth:`mean_field` returned.

        Raises
        ------
        FunctionalError
            If the energy (Ha) or the potential (weighted, on the grid) is not finite.
        """
        evaluation.rho = rho
        evaluation.energy += energy
        if not (evaluation.energy == evaluation.energy and abs(evaluation.energy) < 1e12):
            raise FunctionalError(
                f"the functional gives an energy of {evaluation.energy} Ha for {self.molecule.name}",
                field="functional",
                remedy="check the network's weights and outputs for NaN or overflow",
            )
        if not bool(torch.isfinite(potential).all()):
            raise FunctionalError(
                f"the functional's potential for {self.molecule.name} is not finite",
                field="functional",
                remedy="the network must be differentiable wherever the density goes, down to 0",
            )
        evaluation.fock += matrix

    @property
    def _trainable_exchange(self) -> bool:
        with torch.enable_grad():  # callers run without gradients, which would hide the answer
            terms = self.xc.exchange_terms
        return any(isinstance(c, Tensor) and c.requires_grad for c, _ in terms)

    def fock_response(self, change: Tensor, kernel: XCKernel) -> Tensor:
        """Linear change of the Fock matrices when the density matrices change.

        Parameters
        ----------
        change : Tensor, shape (nspin, nao, nao), symmetric
        kernel : XCKernel
            Second derivatives of the functional at the reference density.
        """
        terms = [(c, omega) for c, omega in self.exchange_terms() if c != 0.0]
        known: dict[float | None, Tensor] = {}
        if any(omega is None for _, omega in terms):
            vj, known[None] = self.molecule.coulomb_exchange(change)
            coulomb = vj.sum(0)
        else:
            coulomb = self.molecule.coulomb(change.sum(0))
        response = coulomb.expand(self.nspin, -1, -1).clone()
        for coefficient, omega in terms:
            k = known[omega] if omega in known else self.molecule.exchange(change, omega)
            response -= 2.0 * coefficient * self.exchange_share * k
        return response + self.matrix_of_potential(kernel(self.density_of_matrix(change)))

    def exchange_energy_change(self, density: Tensor, change: Tensor) -> Tensor:
        """Change of the exact-exchange energy, differentiable in its coefficients (Ha)."""
        total = density.new_zeros(())
        for coefficient, omega in self.xc.exchange_terms:
            if isinstance(coefficient, Tensor) and coefficient.requires_grad:
                k = self.molecule.exchange(density, omega)
                total = total - 2.0 * coefficient * self.exchange_share * (change * k).sum()
        return total


def _rebuilt(
    molecule: Molecule,
    xc: XCFunctional,
    restricted: bool,
    device: torch.device,
    chosen: bool,
    level: int | None,
    differentiate: bool,
) -> KSHamiltonian:
    made = KSHamiltonian(molecule, xc, restricted, device, molecule.grid_at(level) if chosen else None)
    made.differentiate = differentiate
    return made
