"""The systems of a batch spread over processes: who solves what, and how the numbers come together.

Every process holds the same data and the same functional. It solves the systems it owns; values and
gradients of all are then added up (each row of the sum comes from one process), and every process
puts the same linear functions of the parameters together in the same order. So all of them take the
same optimiser step, to the last bit the one a single process would have taken.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from deepchem_dft import parallel
from deepchem_dft.models.xc.solving import SystemSolver, linear
from deepchem_dft.models.xc.states import StateStore
from deepchem_dft.scf.quadrature import device_of
from deepchem_dft.xc.base import XCFunctional

# Columns of what is exchanged, before the gradient; a row is one number wanted of one system.
_STATUS, _SECONDS, _SOLUTIONS, _VALUE, _GRADIENT = range(5)
_KNOWN, _UNKNOWN, _FAILED = 1.0, 2.0, 3.0


@dataclass
class Task:
    """One system of a batch, and what is wanted of it.

    Attributes
    ----------
    system : DFTSystem
    entry : DFTEntry
        The first that needs it, to be named in errors.
    wanted : list
        None for the energy, a ``dm`` or ``dens`` entry for the deviation from its target.
    """

    system: Any
    entry: Any
    wanted: list[Any] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Identity of the system."""
        return str(self.system.key)

    @property
    def whole(self) -> bool:
        """Whether a density is wanted, not the energy alone."""
        return any(entry is not None for entry in self.wanted)


#: What a task gives: a number for each thing wanted, None where the field did not converge.
Numbers = list[Tensor | None]


def tasks_of(entries: Iterable[Any]) -> list[Task]:
    """Return each system of some entries once, in the order of its first appearance."""
    tasks: dict[str, Task] = {}
    for entry in entries:
        wish = None if entry.is_energy else entry
        for system in entry.get_systems():
            task = tasks.setdefault(str(system.key), Task(system, entry))
            if not any(wish is known for known in task.wanted):
                task.wanted.append(wish)
    return list(tasks.values())


class Spreader:
    """Spreads tasks over the processes; alone, it solves them all right here.

    A system stays with its process, where its integrals and orbitals are, until :meth:`rebalance`.

    Attributes
    ----------
    owners : dict
        System to rank.
    seconds : dict
        Time spent on each system since :meth:`forget_times`, the same on all processes.
    """

    def __init__(self, solver: SystemSolver) -> None:
        self.solver = solver
        self.owners: dict[str, int] = {}
        self.seconds: dict[str, float] = {}

    def assign(self, tasks: Sequence[Task]) -> None:
        """Give systems not seen before to processes, by a guess of what they cost."""
        size = parallel.world_size()
        if size == 1 or all(task.key in self.owners for task in tasks):
            return
        loads, new = [0.0] * size, {}
        for task in tasks:
            molecule = self.solver.molecule(task.system)
            cost = len(molecule.symbols) * float(molecule.nao) ** 2 * (2 if molecule.spin else 1)
            if task.key in self.owners:
                loads[self.owners[task.key]] += cost
            else:
                new[task.key] = cost
        self.owners.update(zip(new, spread(list(new.values()), loads), strict=True))

    def mine(self, tasks: Sequence[Task]) -> list[Task]:
        """Return the tasks that this process does."""
        if parallel.world_size() == 1:
            return list(tasks)
        self.assign(tasks)
        return [task for task in tasks if self.owners[task.key] == parallel.rank()]

    def run(self, tasks: Sequence[Task], solve: Callable[[Task], Numbers], xc: XCFunctional) -> list[Numbers]:
        """Solve all tasks.

        Parameters
        ----------
        tasks : list of Task
            The same on all processes.
        solve : callable
            Does one of them.
        xc : XCFunctional
            Of whose parameters the numbers are (linear) functions.

        Returns
        -------
        list
            For each task its numbers, the same on all processes. An error is that of the first
            task that failed, on all processes.
        """
        if parallel.world_size() == 1:
            return [solve(task) for task in tasks]
        self.assign(tasks)
        parameters = [p for p in xc.parameters() if p.requires_grad]
        if not torch.is_grad_enabled():
            parameters = []
        first = [0]
        for task in tasks:
            first.append(first[-1] + len(task.wanted))
        width = _GRADIENT + sum(p.numel() for p in parameters)
        table = torch.zeros(first[-1], width, dtype=torch.float64)
        error, solutions = None, self.solver.solutions
        for number, task in enumerate(tasks):
            if self.owners[task.key] != parallel.rank():
                continue
            rows, before = table[first[number] : first[number + 1]], self.solver.solutions
            start = time.perf_counter()
            try:
                for row, value in zip(rows, solve(task), strict=True):
                    _write(row, value, parameters)
            except Exception as failure:  # told to the others below, or they would wait for ever
                error = (number, failure)
                rows[:, _STATUS] = _FAILED
                break
            rows[0, _SECONDS] = time.perf_counter() - start
            rows[0, _SOLUTIONS] = self.solver.solutions - before
        table = parallel.total(table)
        if bool((table[:, _STATUS] == _FAILED).any()):
            parallel.raise_first(error)
        self.solver.solutions = solutions + int(table[:, _SOLUTIONS].sum())
        for task, row in zip(tasks, first, strict=False):
            spent = table[row, _SECONDS].item()
            self.seconds[task.key] = self.seconds.get(task.key, 0.0) + spent
        numbers = [_read(row, parameters, device_of(xc)) for row in table]
        return [numbers[i:j] for i, j in zip(first, first[1:], strict=False)]

    # -- moving -----------------------------------------------------------------------------------

    def forget_times(self) -> None:
        """Begin to measure anew."""
        self.seconds.clear()

    def rebalance(self, groups: Iterable[Iterable[str]], stores: Sequence[StateStore]) -> int:
        """Move systems to other processes, with their orbitals, where that saves time.

        Parameters
        ----------
        groups : iterable of iterable of str
            Systems solved together, to be spread evenly; a system counts in its first group.
        stores : list of StateStore

        Returns
        -------
        int
            How many systems moved.
        """
        moves: dict[str, int] = {}
        placed: set[str] = set()
        for group in groups:
            keys = [k for k in dict.fromkeys(group) if k not in placed and k in self.seconds]
            placed.update(keys)
            old = [self.owners[k] for k in keys]
            new = rebalanced(old, [self.seconds[k] for k in keys], parallel.world_size())
            moves |= {k: n for k, o, n in zip(keys, old, new, strict=True) if o != n}
        if not moves:
            return 0
        leaving = [k for k in moves if self.owners[k] == parallel.rank()]
        sent = parallel.gather([store.to_dict(leaving) for store in stores])
        for key, owner in moves.items():
            parts = sent[self.owners[key]]
            self.owners[key] = owner
            for store, part in zip(stores, parts, strict=True):
                store.drop(key)  # what was left here by an earlier move
                if owner == parallel.rank() and key in part:
                    store.update({key: part[key]})
            if owner != parallel.rank():
                self.solver.forget(key)
        return len(moves)

    def collect(self, store: StateStore) -> dict[str, Any]:
        """Return the orbitals of all systems, each from its owner, on process 0.

        On the others, what is returned is not complete.
        """
        if parallel.world_size() == 1:
            return store.to_dict()
        rank = parallel.rank()
        # Systems without an owner came from a checkpoint, and process 0 has them as well.
        own = [key for key in store if self.owners.get(key, 0) == rank]
        merged: dict[str, Any] = {}
        for part in parallel.gather_on_main(store.to_dict(own)):
            merged.update(part)
        return merged


def _write(row: Tensor, value: Tensor | None, parameters: Sequence[Tensor]) -> None:
    if value is None:
        row[_STATUS] = _UNKNOWN
        return
    row[_STATUS], row[_VALUE] = _KNOWN, value.detach()
    if not parameters:
        return
    gradients: Sequence[Tensor | None] = [None] * len(parameters)
    if value.requires_grad:
        gradients = torch.autograd.grad(value, parameters, allow_unused=True)
    # NaN says that a parameter has no part in the value, which to an optimiser is not the same as
    # a gradient of zero. Gradients that are not finite never come this far.
    row[_GRADIENT:] = torch.cat(
        [
            torch.full((p.numel(),), torch.nan, dtype=row.dtype)
            if g is None
            else g.detach().reshape(-1).to(row)
            for p, g in zip(parameters, gradients, strict=True)
        ]
    )


def _read(row: Tensor, parameters: Sequence[Tensor], device: torch.device) -> Tensor | None:
    if row[_STATUS].item() != _KNOWN:
        return None
    value = row[_VALUE].to(device, copy=True)
    if not parameters:
        return value
    parts = row[_GRADIENT:].split([p.numel() for p in parameters])
    gradients = [
        None if bool(torch.isnan(part).any()) else part.reshape(p.shape).to(p)
        for p, part in zip(parameters, parts, strict=True)
    ]
    return linear(value, parameters, gradients)


def spread(costs: Sequence[float], loads: Sequence[float]) -> list[int]:
    """Give each job to the process with the least to do, costly jobs first.

    Parameters
    ----------
    costs : sequence of float
    loads : sequence of float
        What each process has to do already.

    Returns
    -------
    list of int
        The rank of each job.

    Examples
    --------
    >>> spread([1.0, 5.0, 3.0, 2.0], loads=[0.0, 0.0])
    [0, 0, 1, 1]
    """
    loads, ranks = list(loads), [0] * len(costs)
    for job in sorted(range(len(costs)), key=lambda j: -costs[j]):
        ranks[job] = loads.index(min(loads))
        loads[ranks[job]] += costs[job]
    return ranks


def rebalanced(ranks: Sequence[int], costs: Sequence[float], size: int) -> list[int]:
    """Move few jobs, so that the process with the most to do has less.

    Jobs go from the process with the most to the one with the least as long as that helps.
    Nothing moves if the longest time would not become a tenth shorter: a job that moves leaves
    its integrals behind.

    Examples
    --------
    >>> rebalanced([0, 0, 0, 1], [1.0, 4.0, 1.0, 2.0], size=2)
    [1, 0, 1, 1]
    """
    moved, loads = list(ranks), [0.0] * size
    for owner, cost in zip(ranks, costs, strict=True):
        loads[owner] += cost
    longest = max(loads)
    for _ in ranks:
        busy, idle = loads.index(max(loads)), loads.index(min(loads))
        gap = loads[busy] - loads[idle]
        movable = [j for j, owner in enumerate(moved) if owner == busy and 0 < costs[j] < gap]
        if not movable:
            break
        job = min(movable, key=lambda j: abs(costs[j] - gap / 2))
        moved[job] = idle
        loads[busy] -= costs[job]
        loads[idle] += costs[job]
    return moved if max(loads) < 0.9 * longest else list(ranks)
