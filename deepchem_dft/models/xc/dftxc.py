"""DFTXC: the torch module that turns entries into values through self-consistent fields."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from deepchem_dft.errors import InputError, ResponseNotConverged, SCFNotConverged
from deepchem_dft.fitting.options import tell_unconverged
from deepchem_dft.models.xc.functional import make_functional
from deepchem_dft.models.xc.options import SystemOptions
from deepchem_dft.models.xc.samples import check_entries, entry_name
from deepchem_dft.models.xc.solving import Solved, SystemSolver, linearised
from deepchem_dft.models.xc.spreading import Numbers, Spreader, Task, tasks_of
from deepchem_dft.models.xc.states import StateStore
from deepchem_dft.scf import KSResult, SCFLayer, SCFOptions
from deepchem_dft.scf.quadrature import device_of
from deepchem_dft.xc.base import XCFunctional


class DFTXC(nn.Module):
    """Evaluate entries with a functional: solve each of their systems once, combine the energies.

    In training mode systems start from their last orbitals, may be evaluated at frozen orbitals
    (``scf_every``), and entries that do not converge come out as NaN without a gradient. In
    evaluation mode every system is solved from scratch, so that a value depends on nothing but the
    functional and the system, and entries that do not converge raise.

    Parameters
    ----------
    xcstr : str, optional
        Conventional part of the functional.
    nnmodel : nn.Module, optional
        Network added to it, with trainable weight starting at 0 as in DeepChem.
    xc : XCFunctional, optional
        A ready functional, instead of ``xcstr`` and ``nnmodel``.
    scf : SCFOptions, optional
        How systems are solved.
    **options
        The same by name, with what concerns training; see
        :class:`~deepchem_dft.models.xc.options.SystemOptions`.

    Examples
    --------
    >>> from deepchem_dft.data import DFTEntry
    >>> helium = [{"moldesc": "He 0 0 0", "basis": "sto-3g"}]
    >>> entry = DFTEntry.create("energy", "-2.9 Ha", helium)
    >>> model = DFTXC("lda", torch.nn.Sequential(torch.nn.Linear(2, 1)), grid_level=0).eval()
    >>> model([entry]).shape
    torch.Size([1, 1])
    """

    def __init__(
        self,
        xcstr: str | None = None,
        nnmodel: nn.Module | None = None,
        *,
        xc: XCFunctional | None = None,
        scf: SCFOptions | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.options = SystemOptions.of(scf, **options)
        self.xc = xc if xc is not None else make_functional(xcstr, nnmodel)
        # Held in a tuple: as a submodule its parameters would be listed a second time.
        self._layer = (SCFLayer(self.xc, self.options),)
        self.solver = SystemSolver(self.layer, self.options)
        self.spreader = Spreader(self.solver)
        self.scf_every, self.on_unconverged = self.options.scf_every, self.options.on_unconverged
        self.states = StateStore()

    @property
    def layer(self) -> SCFLayer:
        """The self-consistent field as a differentiable layer."""
        return self._layer[0]

    def forward(self, inputs: Iterable[Any]) -> Tensor:
        """Return the entries' values, shape (N, 1), in the order given.

        See :meth:`values`; the mode of the module (``train()`` or ``eval()``) chooses the options.
        """
        if self.training:
            return self.values(inputs, store=self.states, scf_every=self.scf_every, on_unconverged="nan")
        return self.values(inputs, on_unconverged=self.on_unconverged)

    def values(
        self,
        inputs: Iterable[Any],
        *,
        store: StateStore | None = None,
        scf_every: int = 1,
        on_unconverged: str = "raise",
    ) -> Tensor:
        """Return the entries' values, solving each system once.

        Several processes (see :mod:`deepchem_dft.parallel`) share the systems, and all return the
        same values; all of them must call with the same entries.

        Parameters
        ----------
        inputs : iterable of DFTEntry
        store : StateStore, optional
            Where orbitals to start from are found and kept; None solves from scratch.
        scf_every : int
            See the class; above 1 it needs ``store``.
        on_unconverged : {"raise", "warn", "nan"}

        Returns
        -------
        Tensor, shape (N, 1), float64
            Hartree for energies, the deviation from the target for ``dm`` and ``dens``;
            differentiable once with respect to the functional's parameters.

        Raises
        ------
        SCFNotConverged
            Naming the entry and the system.
        FunctionalError
            If the functional gave NaN or infinity, naming the entry.
        InputError
            If a system cannot be built (unknown basis, impossible spin...).
        """
        entries = check_entries(inputs)
        if not entries:
            return torch.zeros(0, 1, dtype=torch.float64, device=device_of(self.xc))
        tasks = tasks_of(entries)
        strict = on_unconverged == "raise"
        mine = [task.system for task in self.spreader.mine(tasks)]
        self.solver.solve_ahead(mine, store, scf_every)

        def solve(task: Task) -> Numbers:
            return self._solve(task, store, scf_every, strict)

        known = {
            (task.key, id(wish)): number
            for task, numbers in zip(tasks, self.spreader.run(tasks, solve, self.xc), strict=True)
            for wish, number in zip(task.wanted, numbers, strict=True)
        }
        found = torch.stack([self._combine(entry, known) for entry in entries]).reshape(-1, 1)
        if on_unconverged == "warn" and bool((lost := torch.isnan(found.detach()).flatten()).any()):
            named = [entry_name(e) for e, gone in zip(entries, lost.tolist(), strict=True) if gone]
            tell_unconverged(
                "warn",
                f"{len(named)} of {len(entries)} entries did not converge and "
                f"have no value: {', '.join(named[:5])}",
                2,
            )
        return found

    def _solve(self, task: Task, store: StateStore | None, scf_every: int, strict: bool) -> Numbers:
        with _naming(task.entry):
            solved = self.solver.solve(task.system, task.whole, store, scf_every)
        if not solved.converged:
            if strict:
                raise _not_converged(task.entry, task.system, solved.result)
            return [None] * len(task.wanted)
        return [self._number(solved, task, wish, strict) for wish in task.wanted]

    def _number(self, solved: Solved, task: Task, wish: Any, strict: bool) -> Tensor | None:
        with _naming(wish or task.entry):
            if wish is None and solved.energy is not None:
                return solved.energy
            assert solved.result is not None
            if wish is None:  # solved for its density, and the energy is wanted too
                return linearised(solved.result.energy, self.layer, keep_graph=True)
            try:
                return linearised(wish.deviation(solved.result), self.layer, keep_graph=True)
            except ResponseNotConverged as error:
                if strict:
                    raise ResponseNotConverged(f"entry {entry_name(wish)}: {error}") from error
                return None

    def _combine(self, entry: Any, known: dict[tuple[str, int], Tensor | None]) -> Tensor:
        wish = id(None if entry.is_energy else entry)
        numbers = [known[str(system.key), wish] for system in entry.get_systems()]
        found = [number for number in numbers if number is not None]
        if len(found) < len(numbers):
            return torch.full((), math.nan, dtype=torch.float64, device=device_of(self.xc))
        if not entry.is_energy:
            return found[0]
        terms = [c * e for c, e in zip(entry.coefficients, found, strict=True)]
        return torch.stack(terms).sum()


class _naming:
    """Context that adds the entry's name to errors about input."""

    def __init__(self, entry: Any) -> None:
        self.entry = entry

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, InputError) and error.entry is None:
            # The class is kept: a FunctionalError has to stay one.
            raise type(error)(
                error.problem,
                file=error.file,
                entry=entry_name(self.entry),
                field=error.field,
                remedy=error.remedy,
            ) from error


def _not_converged(entry: Any, system: Any, result: KSResult | None) -> SCFNotConverged:
    status = getattr(result, "status", "not converged")
    return SCFNotConverged(
        f"entry {entry_name(entry)}, system {system.name}: the self-consistent field did not "
        f"converge ({status}). Remedy: check geometry, charge and spin; train the functional "
        "further or lower its scale; on_unconverged='nan' gives NaN instead.",
        result,
    )
