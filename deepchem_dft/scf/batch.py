"""Several small systems solved side by side, so that a GPU has enough to do."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deepchem_dft.equilibrium import DIIS
from deepchem_dft.errors import InputError
from deepchem_dft.molecule.grid import BLOCK_ROWS, row_blocks
from deepchem_dft.scf.hamiltonian import FockBuild, KSHamiltonian
from deepchem_dft.scf.ladder import (
    InitialGuess,
    SCFSolution,
    SCFStatus,
    diagonalise,
    diis_goes_on,
    finish,
    prepare,
    solve,
)
from deepchem_dft.scf.rotations import mixing, off_block
from deepchem_dft.scf.search.ground_state import ground_state
from deepchem_dft.scf.state import FockHistory, SCFState
from deepchem_dft.torchstate import unaffected
from deepchem_dft.xc.nonlocality.terms import has_nonlocal_part

# MolecularGrid points per call of the functional: a core's cache likes few, a GPU many.
_ROWS = {"cpu": 16384}
_ROWS_ELSEWHERE = 2**18


@unaffected
def solve_batch(
    hamiltonians: Sequence[KSHamiltonian],
    guesses: Sequence[SCFState | None] | None = None,
    *,
    tol: float = 1e-6,
    max_iter: int = 500,
    diis_iterations: int = 12,
) -> list[SCFSolution]:
    """Find self-consistent orbitals of several systems with one functional.

    Systems of one shape (points of a dissociation curve, conformers) take their DIIS steps
    together: one evaluation of the functional (unless it sees the whole quadrature of a system) and
    one batched diagonalisation for all of them.
    Each has its own extrapolation and stops when it has converged, so that a solution does not
    depend on its company. Systems that DIIS does not converge, and shapes that occur once, go
    through :func:`~deepchem_dft.scf.ladder.solve`.

    Parameters
    ----------
    hamiltonians : sequence of KSHamiltonian
        With the same functional, on one device. Their atomic orbitals on the grid are copied, side
        by side and padded to the longest grid, for as long as this runs.
    guesses : sequence of SCFState or None, optional
        Orbitals to start from, one for each system; atomic densities where there are none.
    tol, max_iter, diis_iterations
        As in :func:`~deepchem_dft.scf.ladder.solve`, for each system.

    Returns
    -------
    list of SCFSolution
        In the order of the systems.

    Raises
    ------
    InputError
        If the functionals or devices differ, or there are not as many guesses as systems.
    UnfitGuess
        If a guess belongs to another basis.

    Examples
    --------
    >>> from deepchem_dft.molecule import Molecule
    >>> from deepchem_dft.xc import get_xc
    >>> xc = get_xc("native:lda")
    >>> curve = [KSHamiltonian(Molecule(f"H 0 0 0; H 0 0 {r}", "sto-3g", grid_level=0), xc)
    ...          for r in (1.2, 1.4, 1.6)]
    >>> [round(s.evaluation.energy, 2) for s in solve_batch(curve)]
    [-1.11, -1.12, -1.11]
    """
    chosen: list[SCFState | None] = [None] * len(hamiltonians)
    if guesses is not None:
        chosen = list(guesses)
    if len(chosen) != len(hamiltonians):
        raise InputError(
            f"{len(chosen)} guesses for {len(hamiltonians)} systems",
            field="guesses",
            remedy="give one for each, or None",
        )
    for h in hamiltonians[1:]:
        if h.xc is not hamiltonians[0].xc or h.device != hamiltonians[0].device:
            raise InputError(
                "systems of one batch need the same functional on one device",
                field="hamiltonians",
                remedy="solve them in several batches",
            )
    options: dict[str, Any] = {"tol": tol, "max_iter": max_iter, "diis_iterations": diis_iterations}
    shapes: dict[tuple[int, ...], list[int]] = {}
    for i, h in enumerate(hamiltonians):
        shapes.setdefault((h.nspin, h.ncomp, len(h.overlap)), []).append(i)

    solutions: dict[int, SCFSolution] = {}
    for members in shapes.values():
        if len(members) > 1:
            starts = [prepare(hamiltonians[i], chosen[i]) for i in members]
            for width in {p.basis.shape[1] for p in starts}:  # less where functions depend
                same = [k for k, p in enumerate(starts) if p.basis.shape[1] == width]
                run = _LockStep(
                    [hamiltonians[members[k]] for k in same], [starts[k] for k in same], **options
                )
                solutions.update((members[same[k]], s) for k, s in run().items())
    out = []
    for i, (h, guess) in enumerate(zip(hamiltonians, chosen, strict=True)):
        solution = solutions.get(i)
        if solution is None:
            solution = solve(h, guess=guess, **options)
        else:
            solution.state.trend = FockHistory.after(guess, solution.evaluation.fock)
        if guess is None:
            solution, _ = ground_state(h, solution, cold=True, tol=tol, max_iter=max_iter, unrestricted=False)
        out.append(solution)
    return out


class _LockStep:
    """DIIS on systems of one shape, all at once. Tensors have a leading dimension for systems."""

    def __init__(
        self,
        hamiltonians: list[KSHamiltonian],
        problems: list[InitialGuess],
        *,
        tol: float,
        max_iter: int,
        diis_iterations: int,
    ) -> None:
        self.tol, self.max_iter, self.patience = tol, max_iter, diis_iterations
        self.systems = list(range(len(hamiltonians)))  # those still at work
        self.hamiltonians = hamiltonians
        self.iterations = [p.iterations for p in problems]
        self.histories: list[list[float]] = [[] for _ in problems]
        self.diis = [DIIS() for _ in problems]
        self.overlap = torch.stack([h.overlap for h in hamiltonians])[:, None]
        self.basis = torch.stack([p.basis for p in problems])[:, None]
        self.occupations = torch.stack([p.occupations for p in problems])
        self.orbitals = torch.stack([p.orbitals for p in problems])
        self.grids = None if has_nonlocal_part(hamiltonians[0].xc) else _Grids(hamiltonians)

    @torch.no_grad()
    def __call__(self) -> dict[int, SCFSolution]:
        """Return the solutions of those systems that DIIS converges, by place."""
        out: dict[int, SCFSolution] = {}
        while True:
            evaluations = self._evaluate()
            focks = torch.stack([e.fock for e in evaluations])
            residuals = self._residuals(focks)
            going = []
            for place, i in enumerate(self.systems):
                self.iterations[i] += 1
                self.histories[i].append(residuals[place])
                if residuals[place] < self.tol:
                    out[i] = finish(
                        self.hamiltonians[i],
                        self.orbitals[place],
                        self.occupations[place],
                        evaluations[place],
                        residuals[place],
                        self.iterations[i],
                        SCFStatus.CONVERGED,
                        self.histories[i],
                    )
                elif self.iterations[i] < self.max_iter and diis_goes_on(self.histories[i], self.patience):
                    going.append(place)
            if not going:
                return out
            if len(going) < len(self.systems):
                focks = focks[going]
                self._keep(going)
            self._step(focks)

    def _evaluate(self) -> list[FockBuild]:
        if self.grids is None:
            triples = zip(self.systems, self.orbitals, self.occupations, strict=True)
            return [self.hamiltonians[i].evaluate(c, f) for i, c, f in triples]
        weighted = self.orbitals * self.occupations.sqrt()[:, :, None]
        held = (self.occupations != 0).any(0).any(0)  # somewhere, in either channel
        rho = self.grids.densities(weighted[..., held])
        energies, potential = self.grids.potentials(rho)
        matrices = self.grids.matrices(potential)
        found = []
        for place, i in enumerate(self.systems):
            h, size = self.hamiltonians[i], self.hamiltonians[i].grid.size
            occupied = [c[:, f > 0] for c, f in zip(weighted[place], self.occupations[place], strict=True)]
            evaluation = h.mean_field(weighted[place] @ weighted[place].mT, occupied)
            h.add_xc(
                evaluation, rho[place, ..., :size].clone(), energies[place], potential[place], matrices[place]
            )
            found.append(evaluation)
        return found

    def _residuals(self, focks: Tensor) -> list[float]:
        fock_mo = self.orbitals.mT @ focks @ self.orbitals
        mixed = mixing(self.occupations.flatten(0, 1)).reshape(fock_mo.shape) != 0
        largest = (fock_mo.abs() * mixed).amax((1, 2, 3)).tolist()
        for place, residual in enumerate(largest):
            if residual < self.tol:
                largest[place] = off_block(fock_mo[place], self.occupations[place], self.tol)
        return largest

    def _step(self, focks: Tensor) -> None:
        density = (self.orbitals * self.occupations[:, :, None]) @ self.orbitals.mT
        product = focks @ density @ self.overlap
        errors = self.basis.mT @ (product - product.mT) @ self.basis
        focks = torch.stack(
            [self.diis[i].update(f, e) for i, f, e in zip(self.systems, focks, errors, strict=True)]
        )
        self.orbitals = diagonalise(focks, self.basis)

    def _keep(self, places: list[int]) -> None:
        self.systems = [self.systems[p] for p in places]
        self.overlap, self.basis = self.overlap[places], self.basis[places]
        self.occupations, self.orbitals = self.occupations[places], self.orbitals[places]
        if self.grids is not None:
            self.grids.keep(places)


class _Grids:
    """Quadrature grids of several systems side by side, the shorter ones padded with nothing."""

    def __init__(self, hamiltonians: list[KSHamiltonian]) -> None:
        first = hamiltonians[0]
        self.xc, self.nspin, self.ncomp, self.device = (first.xc, first.nspin, first.ncomp, first.device)
        count, nao = len(hamiltonians), len(first.overlap)
        self.weights = first.weights.new_zeros(count, max(h.grid.size for h in hamiltonians))
        deriv = 0 if self.ncomp == 1 else 1
        self.rows = row_blocks(self.weights.shape[1], BLOCK_ROWS)
        self.blocks = [  # (systems, 1 or 4, rows, nao)
            self.weights.new_zeros(count, 1 + 3 * deriv, rows.stop - rows.start, nao) for rows in self.rows
        ]
        for place, h in enumerate(hamiltonians):
            self.weights[place, : h.grid.size] = h.weights
            for block, (rows, columns, ao) in zip(self.blocks, h.grid.blocks(deriv, h.device)):
                target = block[place, :, : rows.stop - rows.start]
                target[..., slice(None) if columns is None else columns] = ao

    def keep(self, places: list[int]) -> None:
        """Go on with some of the systems."""
        self.weights = self.weights[places]
        self.blocks = [block[places] for block in self.blocks]

    def densities(self, orbitals: Tensor) -> Tensor:
        """Density components (systems, nspin, ncomp, G) of orbitals (systems, nspin, nao, k)."""
        count, points = self.weights.shape
        rho = self.weights.new_empty(count, self.nspin, self.ncomp, points)
        both = orbitals.mT.flatten(1, 2)
        for rows, ao in zip(self.rows, self.blocks, strict=True):
            phi = (both @ ao.flatten(1, 2).mT).reshape(count, self.nspin, -1, *ao.shape[1:3])
            rho[:, :, :4, rows] = (phi[..., :1, :] * phi).sum(2)
            if self.ncomp > 4:
                rho[:, :, 4, rows] = 0.5 * phi[..., 1:, :].square().sum((2, 3))
        rho[:, :, 1:4] *= 2.0
        return rho

    def potentials(self, rho: Tensor) -> tuple[list[float], Tensor]:
        """Semilocal energies (Ha) and their derivatives by the density components (weighted)."""
        flat, weights = rho.permute(1, 2, 0, 3).flatten(2), self.weights.flatten()
        energies, potential = torch.empty_like(weights), torch.empty_like(flat)
        for rows in row_blocks(len(weights), _ROWS.get(self.device.type, _ROWS_ELSEWHERE)):
            with torch.enable_grad():
                leaf = flat[:, :, rows].detach().requires_grad_()
                part = self.xc.energy_density(leaf) * weights[rows]
                slope = None
                if part.requires_grad:
                    slope = torch.autograd.grad(part.sum(), leaf, allow_unused=True)[0]
            energies[rows] = part.detach()
            potential[:, :, rows] = 0.0 if slope is None else slope
        potential = potential.unflatten(2, self.weights.shape).permute(2, 0, 1, 3)
        return energies.reshape(self.weights.shape).sum(1).tolist(), potential

    def matrices(self, weighted: Tensor) -> Tensor:
        """Matrices (systems, nspin, nao, nao) of potentials (systems, nspin, ncomp, G)."""
        nao = self.blocks[0].shape[-1]
        half = self.weights.new_zeros(self.nspin, len(weighted), nao, nao)
        for rows, ao in zip(self.rows, self.blocks, strict=True):
            values, *slopes = ao.unbind(1)
            for s in range(self.nspin):
                w = weighted[:, s, :, rows, None].unbind(1)
                # Half of the symmetric result: the other half is its transpose.
                left = 0.5 * w[0] * values
                for factor, slope in zip(w[1:4], slopes):
                    left.addcmul_(factor, slope)
                half[s].baddbmm_(values.mT, left)
                if self.ncomp > 4:
                    for slope in slopes:
                        half[s].baddbmm_(slope.mT, torch.mul(0.25 * w[4], slope, out=left))
        return (half + half.mT).transpose(0, 1)
