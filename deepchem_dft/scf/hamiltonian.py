"""Kohn-Sham energy and Fock matrix as functions of the orbitals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from deepchem_dft.errors import FunctionalError, InputError
from deepchem_dft.molecule import Molecule
from deepchem_dft.molecule.grid import Block, Grid
from deepchem_dft.scf.quadratures import Quadratures, components, grids_of, shifted_blocks
from deepchem_dft.xc.base import XCFunctional


@dataclass
class Evaluation:
    """Energy (Ha) and Fock matrices at one set of orbitals."""

    energy: float
    fock: Tensor  # (nspin, nao, nao)
    rho: Tensor  # (nspin, ncomp, G), on all quadratures of the functional
    fixed_energy: float  # everything but exchange-correlation, Ha
    #: -1/2 sum_s tr(D_s K[D_s]) in Ha by range omega, as far as it was needed.
    exchange: dict[float | None, float]
    #: Derivative of the semilocal energy with respect to every trainable parameter, if asked for.
    slopes: list[Tensor] | None = None


class KSHamiltonian:
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
    grid : Grid, optional
        Quadrature of all parts of the functional; default the molecule's own, and for nonlocal
        parts those they ask for.

    Attributes
    ----------
    grids : list of Grid
        All that the functional's parts are on. Where there are several, points of densities and
        potentials run through all of them.
    quadratures : Quadratures
        Likewise, for the functional.

    Raises
    ------
    InputError
        If ``restricted`` is asked for and impossible.
    """

    def __init__(
        self,
        molecule: Molecule,
        xc: XCFunctional,
        restricted: bool | None = None,
        device: torch.device | str | None = None,
        grid: Grid | None = None,
    ) -> None:
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
        self.molecule, self.xc, self.restricted = molecule, xc, bool(restricted)
        self.nspin = 1 if restricted else 2
        self.device = torch.device(device or device_of(xc))
        #: Whether the energy will be differentiated: solvers then have slopes computed on the way.
        self.differentiate = torch.is_grad_enabled() and bool(self.parameters)
        self.ncomp = components(xc)
        self.overlap = molecule.overlap.to(self.device)
        self.core = molecule.core_hamiltonian.to(self.device)
        self.chosen_grid = grid
        self.grids, places = grids_of(molecule, xc, grid)
        self.quadratures = Quadratures([g.quadrature.to(self.device) for g in self.grids], places)
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

    @property
    def grid(self) -> Grid:
        """That of the functional itself, without its nonlocal terms."""
        return self.grids[0]

    @property
    def weights(self) -> Tensor:
        """Quadrature weights of all points, shape (G,), Bohr^3."""
        return self.quadratures.weights

    # -- linear maps between matrices and grid ------------------------------------------------

    def _blocks(self) -> Iterable[Block]:
        """Atomic orbitals the functional needs, in blocks of points."""
        return shifted_blocks(self.grids, 0 if self.ncomp == 1 else 1, self.device)

    def _empty_density(self) -> Tensor:
        shape = self.nspin, self.ncomp, self.quadratures.size
        return torch.empty(shape, dtype=torch.float64, device=self.device)

    def density_of_orbitals(self, orbitals: Tensor, occupations: Tensor) -> Tensor:
        """Density components from occupied orbitals, shape (nspin, ncomp, G)."""
        occupied = _occupied(orbitals, occupations)
        sizes = [c.shape[1] for c in occupied]
        # Orbitals as rows, one after the other in memory: the product is a third cheaper.
        both = torch.cat([c.mT for c in occupied])
        rho = self._empty_density()
        for rows, columns, ao in self._blocks():
            phi = (both if columns is None else both[:, columns]) @ ao.flatten(0, 1).mT
            for s, p in enumerate(phi.unflatten(1, ao.shape[:2]).split(sizes)):
                rho[s, :4, rows] = (p[:, :1] * p).sum(0)
                if self.ncomp > 4:
                    rho[s, 4, rows] = 0.5 * p[:, 1:].square().sum((0, 1))
        rho[:, 1:4] *= 2.0
        return rho

    def density_of_matrix(self, matrices: Tensor) -> Tensor:
        """Density components of symmetric matrices (linear), shape (nspin, ncomp, G)."""
        rho = self._empty_density()
        for rows, columns, ao in self._blocks():
            for s in range(self.nspin):
                matrix = matrices[s]
                if columns is not None:
                    matrix = matrix[columns[:, None], columns]
                x = ao[0] @ matrix
                rho[s, 0, rows] = (x * ao[0]).sum(1)
                if self.ncomp > 1:
                    rho[s, 1:4, rows] = 2.0 * torch.einsum("gi,xgi->xg", x, ao[1:])
                if self.ncomp > 4:
                    rho[s, 4, rows] = 0.5 * ((ao[1:] @ matrix) * ao[1:]).sum((0, 2))
        return rho

    def matrix_of_potential(self, weighted: Tensor) -> Tensor:
        """Adjoint of :meth:`density_of_matrix`: weighted potential to matrix.

        Parameters
        ----------
        weighted : Tensor, shape (nspin, ncomp, G)
            Potential of each density component times quadrature weight.

        Returns
        -------
        Tensor, shape (nspin, nao, nao)
        """
        half = torch.zeros(self.nspin, *self.core.shape, dtype=torch.float64, device=self.device)
        for rows, columns, ao in self._blocks():
            for s in range(self.nspin):
                w = weighted[s, :, rows, None]
                # Half of the symmetric result: the other half is its transpose.
                left = 0.5 * w[0] * ao[0]
                for slope, component in zip(w[1:4], ao[1:]):
                    left.addcmul_(slope, component)
                part = half[s] if columns is None else ao.new_zeros(len(columns), len(columns))
                part.addmm_(ao[0].mT, left)
                if self.ncomp > 4:
                    for component in ao[1:]:
                        part.addmm_(component.mT, torch.mul(0.25 * w[4], component, out=left))
                if columns is not None:
                    half[s].index_put_((columns[:, None], columns), part, accumulate=True)
        return half + half.mT

    # -- exchange-correlation -----------------------------------------------------------------

    def xc_energy(self, rho: Tensor) -> Tensor:
        """All but exact exchange of the functional, Ha; differentiable in ``rho`` and parameters."""
        total = rho.new_zeros(())
        for rows, energy in self.quadratures.pieces(self.xc):
            total = total + energy(rho[:, :, rows])
        return total

    def xc_potential(self, rho: Tensor, slopes: bool = False) -> tuple[float, Tensor, list[Tensor] | None]:
        """Energy (Ha) and its derivative with respect to every density component (weighted).

        With ``slopes`` also the derivative with respect to every trainable parameter: one walk
        through the network gives both.
        """
        total, potential = 0.0, torch.zeros_like(rho)
        parameters = self.parameters if slopes else []
        totals = [torch.zeros_like(p) for p in parameters]
        for rows, energy in self.quadratures.pieces(self.xc):
            with torch.enable_grad():
                leaf = rho[:, :, rows].detach().requires_grad_()
                part = energy(leaf)
                if part.requires_grad:  # one that ignores its input (a fixed zero, say) has no graph
                    found = torch.autograd.grad(part, [leaf, *parameters], allow_unused=True)
                    for whole, slope in zip([potential[:, :, rows], *totals], found, strict=True):
                        if slope is not None:
                            whole += slope
            total += float(part.detach())
        return total, potential, totals if slopes else None

    @property
    def parameters(self) -> list[Tensor]:
        """Parameters of the functional that want a gradient."""
        return [p for p in self.xc.parameters() if p.requires_grad]

    def exchange_terms(self) -> list[tuple[float, float | None]]:
        """Exact-exchange coefficients as plain numbers."""
        with torch.no_grad():
            return [(float(c), omega) for c, omega in self.xc.exchange_terms]

    # -- energy and Fock matrix ---------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self, orbitals: Tensor, occupations: Tensor, slopes: bool = False) -> Evaluation:
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
        return self._assemble(density, rho, slopes, _occupied(orbitals, occupations))

    @torch.no_grad()
    def evaluate_matrix(self, density: Tensor) -> Evaluation:
        """Energy and Fock matrices of any density matrices, shape (nspin, nao, nao)."""
        return self._assemble(density, self.density_of_matrix(density))

    def _assemble(
        self, density: Tensor, rho: Tensor, slopes: bool = False, occupied: list[Tensor] | None = None
    ) -> Evaluation:
        evaluation = self.mean_field(density, occupied)
        energy, potential, evaluation.slopes = self.xc_potential(rho, slopes)
        self.add_xc(evaluation, rho, energy, potential, self.matrix_of_potential(potential))
        return evaluation

    def mean_field(self, density: Tensor, occupied: list[Tensor] | None = None) -> Evaluation:
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
        return Evaluation(energy, fock, density.new_empty(0), fixed, exchange)

    def add_xc(
        self, evaluation: Evaluation, rho: Tensor, energy: float, potential: Tensor, matrix: Tensor
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


def _occupied(orbitals: Tensor, occupations: Tensor) -> list[Tensor]:
    """Orbitals of each channel that hold electrons, weighted so that D = C C^T."""
    return [c[:, f > 0] * f[f > 0].sqrt() for c, f in zip(orbitals, occupations, strict=True)]


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


def device_of(xc: XCFunctional) -> torch.device:
    """Return the device of a functional's parameters (the CPU if it has none)."""
    return next((p.device for p in xc.parameters()), torch.device("cpu"))


class XCKernel:
    """Second derivatives of the exchange-correlation energy, as products with vectors.

    The graph of the potential is built once and walked once per product.
    """

    def __init__(self, hamiltonian: KSHamiltonian, rho: Tensor) -> None:
        self._parts = []
        for rows, energy in hamiltonian.quadratures.pieces(hamiltonian.xc):
            with torch.enable_grad():
                leaf = rho[:, :, rows].detach().requires_grad_()
                part, slope = energy(leaf), None
                if part.requires_grad:
                    slope = torch.autograd.grad(part, leaf, create_graph=True, allow_unused=True)[0]
            self._parts.append((rows, leaf, slope))

    def __call__(self, change: Tensor) -> Tensor:
        """Return d potential (weighted) for a change of the density components."""
        out = torch.zeros_like(change)
        for rows, leaf, slope in self._parts:
            if slope is None or not slope.requires_grad:
                continue
            product = torch.autograd.grad(
                slope, leaf, grad_outputs=change[:, :, rows], retain_graph=True, allow_unused=True
            )[0]
            if product is not None:
                out[:, :, rows] += product
        return out
