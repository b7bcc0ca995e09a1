"""Solving the systems of entries: molecules, warm starts, energies with gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deepchem_dft.errors import FunctionalError
from deepchem_dft.models.xc.options import SystemOptions
from deepchem_dft.models.xc.states import StateStore
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KSResult, SCFLayer, SCFState
from deepchem_dft.scf.batch import solve_batch
from deepchem_dft.scf.frozen.solution import FrozenSolution
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import UnfitGuess
from deepchem_dft.scf.quadrature import device_of


@dataclass
class Solved:
    """What is known of one system: its energy (Ha), its whole result, each where it was needed."""

    energy: Tensor | None
    result: KSResult | None
    converged: bool


class SystemSolver:
    """Solves systems with one functional, starting from their last orbitals.

    Parameters
    ----------
    layer : SCFLayer
    options : SystemOptions

    Attributes
    ----------
    step : int
        The optimiser step in hand; the fit loop sets it.
    solutions : int
        Self-consistent fields solved so far.
    side_by_side : bool or None
        Whether systems of one shape are solved together. None: on GPUs, which single small systems
        leave idle.
    """

    def __init__(self, layer: SCFLayer, options: SystemOptions) -> None:
        self.layer, self.options = layer, options
        self.step = 0
        self.solutions = 0
        self.side_by_side: bool | None = None
        self._molecules: dict[str, Molecule] = {}
        self._ahead: dict[str, KSResult] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_molecules": {}, "_ahead": {}}

    def molecule(self, system: Any) -> Molecule:
        """Return the (cached) molecule of a system, with its integrals and grid."""
        key = str(system.key)
        if key not in self._molecules:
            self._molecules[key] = self.options.molecule(system)
        return self._molecules[key]

    def forget(self, key: str) -> None:
        """Let go of a molecule, with its integrals and grid."""
        self._molecules.pop(key, None)

    def solve(self, system: Any, whole: bool, store: StateStore | None, scf_every: int) -> Solved:
        """Solve one system, or evaluate it at its stored orbitals.

        Parameters
        ----------
        system : DFTSystem
        whole : bool
            True if the result itself (its density) is wanted, not the energy alone.
        store : StateStore, optional
            Where orbitals to start from are found and kept.
        scf_every : int
            Age in steps at which stored orbitals are too old to be used as they are.
        """
        molecule, key = self.molecule(system), str(system.key)
        held = None if whole else self._resting(system, store, scf_every)
        if held is not None:
            return Solved(linearised(held.energy(self.layer.xc), self.layer), None, True)
        self.solutions += 1
        guess = self._guess(key, store)
        result = self._ahead.pop(key, None) or self.layer(molecule, guess, on_unconverged="continue")
        if not result.converged and guess is not None:
            result = self.layer(molecule, None, on_unconverged="continue")
        if not result.converged:
            if store is not None:
                store.drop(key)
            return Solved(None, result, False)
        if store is not None:
            store.put(key, result.state, self.step)
            if scf_every > 1:
                store.hold(key, FrozenSolution.of(result, self.layer.xc))
        if whole:
            return Solved(None, result, True)
        return Solved(linearised(result.energy, self.layer), None, True)

    def solve_ahead(self, systems: Sequence[Any], store: StateStore | None, scf_every: int) -> None:
        """Solve those of some systems side by side that :meth:`solve` is going to solve.

        Does nothing unless ``side_by_side`` says so.
        """
        self._ahead.clear()
        on_gpu = device_of(self.layer.xc).type != "cpu"
        chosen = on_gpu if self.side_by_side is None else self.side_by_side
        if not chosen or self.layer.scf.engine != "native":
            return
        waiting = [s for s in systems if self._resting(s, store, scf_every) is None and not s.broken_symmetry]
        fields = [KSHamiltonian(self.molecule(s), self.layer.xc, self.layer.scf.restricted) for s in waiting]
        guesses = [self._guess(str(s.key), store) for s in waiting]
        try:
            found = solve_batch(fields, guesses, tol=self.layer.scf.tol, max_iter=self.layer.scf.max_iter)
        except (FunctionalError, UnfitGuess):
            return  # one by one it will be clear which of them it was
        for system, field, solution in zip(waiting, fields, found, strict=True):
            self._ahead[str(system.key)] = KSResult(field, solution)

    def _guess(self, key: str, store: StateStore | None) -> SCFState | None:
        kept = store.get(key) if store is not None and self.options.warm_start else None
        return None if kept is None else kept[0]

    def _resting(self, system: Any, store: StateStore | None, scf_every: int) -> FrozenSolution | None:
        """Return the density to evaluate instead of solving, if there is one to be trusted."""
        key = str(system.key)
        kept = store.get(key) if store is not None else None
        if store is None or kept is None or not self._is_young(kept[1], scf_every):
            return None
        reference, xc = store.reference(key), self.layer.xc
        if key not in store.held and reference is not None:  # after a resume
            molecule = self.molecule(system)
            store.hold(key, FrozenSolution.restored(molecule, xc, kept[0], reference))
        held = store.held.get(key)
        return held if held is not None and held.drift(xc) <= self.options.scf_trust else None

    def _is_young(self, step: int, scf_every: int) -> bool:
        # With scf_every=1 even orbitals of the same step are solved again: whoever calls the
        # module by hand does not count steps.
        return scf_every > 1 and self.step - step < scf_every


def linearised(value: Tensor, module: nn.Module, keep_graph: bool = False) -> Tensor:
    """Exchange a value's graph for its gradient with respect to a module's parameters.

    The graph of one system is a network evaluated on all its grid points; a batch of them
    would not fit into memory. The linear function returned has the same value and gradient.
    """
    if not bool(torch.isfinite(value.detach()).all()):
        raise FunctionalError(
            "the functional gives an energy or density that is not a number",
            remedy="look for NaN in the network's weights, or lower the learning rate",
        )
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not value.requires_grad or not parameters:
        return value.detach()
    gradients = torch.autograd.grad(value, parameters, retain_graph=keep_graph, allow_unused=True)
    for gradient in gradients:
        if gradient is not None and not bool(torch.isfinite(gradient).all()):
            raise FunctionalError(
                "the gradient with respect to the functional's parameters is not finite",
                remedy="look for square roots or logarithms of zero in the network",
            )
    return linear(value.detach(), parameters, gradients)


def linear(value: Tensor, parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> Tensor:
    """Return ``value`` with a graph: the linear function with these gradients (None: no part)."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            value = value + (gradient * (parameter - parameter.detach())).sum().to(value)
    return value
