"""Where a molecule whose atoms move starts: foreseen from the solutions at its last geometries."""

from collections import deque

import torch
from torch import Tensor

from deepchem_dft.molecule import Molecule
from deepchem_dft.scf.ladder import orthonormal_basis, square_root
from deepchem_dft.scf.result import KSResult
from deepchem_dft.scf.state import FockHistory, SCFState

# Against the noise that solutions converged to 1e-6 Ha have; larger values shorten the memory.
_REGULARISATION = 1e-6
# A combination that is not nearer than the last geometry by this factor says nothing of the new one.
_NEARER = 0.5


class GuessExtrapolation:
    """Starts a molecule from all its last geometries rather than from the last one.

    The overlap matrix of the new geometry is written as a linear combination of those of earlier
    ones (least squares, coefficients that add up to one), and the density matrices in the
    symmetrically orthonormalised basis are combined alike; the orbitals that are most occupied in
    the sum are the guess. As it goes by geometries and not by time, it serves dynamics and
    relaxations, and nothing remains of a geometry that is no longer like the new one. The
    self-consistent field is converged as always, so that energies and forces do not depend on it.

    Parameters
    ----------
    length : int
        How many solutions are remembered.

    References
    ----------
    Polack, Dusson, Stamm and Lipparini, J. Chem. Theory Comput. 17, 6965 (2021): combinations
    fitted to a descriptor of the geometry.

    Examples
    --------
    >>> from deepchem_dft.scf import KohnSham
    >>> starts = GuessExtrapolation()
    >>> for length in (1.40, 1.42, 1.44, 1.46):
    ...     h2 = Molecule(f"H 0 0 0; H 0 0 {length}", "6-31g", grid_level=0)
    ...     result = KohnSham(h2, "pbe").run(guess=starts.guess(h2))
    ...     starts.add(result)
    >>> cold = KohnSham(h2, "pbe").run()
    >>> result.iterations < cold.iterations, abs(float(result.energy - cold.energy)) < 1e-10
    (True, True)
    """

    def __init__(self, length: int = 12) -> None:
        self._solutions: deque[tuple[Tensor, Tensor, SCFState]] = deque(maxlen=length)

    def add(self, result: KSResult) -> None:
        """Remember a solution; forget the others if it is one of another kind."""
        state, overlap = result.state, result.molecule.overlap
        density = state.density_matrix().to(overlap.device)
        if self._solutions:
            occupations = self._solutions[0][2].occupations
            if occupations.shape != state.occupations.shape or bool((occupations != state.occupations).any()):
                self._solutions.clear()
        root = square_root(overlap)
        self._solutions.appendleft((overlap, root @ density @ root, state))

    def guess(self, molecule: Molecule) -> SCFState | None:
        """Return orbitals to start a geometry from; None if there is nothing to go by."""
        if not self._solutions:
            return None
        overlaps, densities, states = zip(*self._solutions, strict=True)
        overlap, last = molecule.overlap, states[0]
        basis = orthonormal_basis(overlap)
        fits = overlap.shape == overlaps[0].shape and basis.shape == last.orbitals.shape[1:]
        if len(states) == 1 or not fits or not _whole(last):
            return last
        shares = _combination(overlap, overlaps)
        off, moved = overlap - _sum(shares, overlaps), overlap - overlaps[0]
        if not float(off.norm()) < _NEARER * float(moved.norm()):
            return last
        own = square_root(overlap) @ basis
        weights = own.mT @ _sum(shares, densities) @ own
        _, vectors = torch.linalg.eigh(-weights)
        return SCFState(basis @ vectors, last.occupations, _trend(shares, states))


def _whole(state: SCFState) -> bool:
    """Whether the orbitals that are filled are those that are filled most, and all alike."""
    full = state.occupations.max()
    return bool(((state.occupations == 0.0) | (state.occupations == full)).all()) and bool(
        (state.occupations.diff(dim=1) <= 0.0).all()
    )


def _combination(new: Tensor, known: tuple[Tensor, ...]) -> list[float]:
    """Return the coefficients, which add up to one, of the combination that is closest to a matrix."""
    differences = torch.stack([(one - known[0]).ravel() for one in known[1:]], dim=1)
    scale = float(differences.square().sum().sqrt())
    ridge = _REGULARISATION * scale * torch.eye(len(known) - 1, dtype=new.dtype, device=new.device)
    wanted = torch.cat([(new - known[0]).ravel(), new.new_zeros(len(known) - 1)])
    stacked = torch.cat([differences, ridge])
    found = torch.linalg.lstsq(stacked, wanted[:, None], driver="gelsd").solution[:, 0]
    return [1.0 - float(found.sum()), *found.tolist()]


def _sum(shares: list[float], matrices: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    return torch.stack([share * one for share, one in zip(shares, matrices, strict=True)]).sum(0)


def _trend(shares: list[float], states: tuple[SCFState, ...]) -> FockHistory | None:
    """Foresee likewise what two grids need: how far the coarse one is off."""
    known = [state.trend.matrices for state in states if state.trend is not None]
    if len(known) < len(states) or len({one.shape for one in known}) > 1:
        return states[0].trend
    matrices = _sum(shares, known)
    return FockHistory(matrices, matrices[None][:0])
