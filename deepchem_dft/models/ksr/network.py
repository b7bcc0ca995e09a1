"""The network inside a KSRModel: a functional, iterated to self-consistency."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from deepchem_dft.checks import choice
from deepchem_dft.errors import InputError
from deepchem_dft.lattice.functionals import LatticeFunctional
from deepchem_dft.lattice.step import Molecules
from deepchem_dft.lattice.trajectory import Trajectory, run_trajectory
from deepchem_dft.models.ksr.samples import densities_of, systems_of

_STARTS = ("noninteracting", "atoms", "exact")


class KSRNetwork(nn.Module):
    """From molecules to energies and densities.

    Parameters
    ----------
    functional : LatticeFunctional
    iterations, test_iterations : int
        Of training and of prediction.
    burn_in : int
        Iterations of training that are not differentiated.
    mixing, decay : float
        See :func:`~deepchem_dft.lattice.trajectory.run_trajectory`.
    start : {"noninteracting", "atoms", "exact"}
        First density.
    """

    def __init__(
        self,
        functional: LatticeFunctional,
        iterations: int,
        mixing: float,
        decay: float,
        start: str,
        test_iterations: int | None = None,
        burn_in: int = 0,
    ) -> None:
        super().__init__()
        choice(start, _STARTS, "start")
        self.functional = functional
        if not 0 <= burn_in < iterations:
            raise InputError(
                f"{burn_in} of {iterations} iterations are not differentiated",
                field="burn_in",
                remedy=f"use at most {iterations - 1}",
            )
        self.iterations, self.mixing, self.decay = iterations, mixing, decay
        self.burn_in = burn_in
        self.test_iterations = iterations if test_iterations is None else test_iterations
        self.first = start
        #: Told the residuals of every batch that is predicted.
        self.watch: Callable[[np.ndarray], None] | None = None

    def molecules(self, entries: Sequence[Any]) -> Molecules:
        """Prepare the systems of entries."""
        functional = self.functional
        return Molecules.of(systems_of(entries), functional.grid, functional.polarised)

    def exact_densities(self, entries: Sequence[Any]) -> Tensor:
        """Return exact densities of entries, (B, S, n)."""
        functional = self.functional
        return densities_of(entries, functional.grid, 2 if functional.polarised else 1)

    def start(self, entries: Sequence[Any], kind: str | None = None) -> Tensor | None:
        """Return first densities of entries, None for those of electrons that do not interact."""
        kind = choice(self.first if kind is None else kind, _STARTS, "start")
        if kind == "noninteracting":
            return None
        return (self.exact_densities if kind == "exact" else self._atoms)(entries)

    def _atoms(self, entries: Sequence[Any]) -> Tensor:
        return self.molecules(entries).atoms()

    def run(
        self,
        molecules: Molecules,
        iterations: int | None = None,
        start: Tensor | None = None,
        last: int | None = None,
        test: bool = False,
        burn_in: int | None = None,
    ) -> Trajectory:
        """Iterate prepared molecules, by default as often as training or a test (``test``) does."""
        usual = self.test_iterations if test else self.iterations
        return run_trajectory(
            molecules,
            self.functional,
            iterations or usual,
            self.mixing,
            self.decay,
            start=start,
            last=last,
            burn_in=self.burn_in if burn_in is None else burn_in,
        )

    def forward(self, entries: Sequence[Any]) -> list[Tensor]:
        """Return energies (B, 1), Hartree, densities (B, n) and residuals (B, 1)."""
        found = self.run(self.molecules(entries), None, self.start(entries), last=1, test=True)
        if self.watch is not None:
            self.watch(found.residual.numpy())
        return [found.energies, found.density, found.residual[:, None]]
