"""Solving many molecules with several functionals in worker processes, each only once."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepchem_dft import checkpoint as files
from deepchem_dft import parallel
from deepchem_dft.errors import CheckpointError, DeepChemDFTError, FunctionalError
from deepchem_dft.parallel.pool import available_cpus, close_pool, worker_pool
from deepchem_dft.scf.options import SCFOptions
from deepchem_dft.scf.solutions import EnergyCache, EnergyRecord, Functional

if TYPE_CHECKING:
    from deepchem_dft.molecule import Molecule

LOGGER = logging.getLogger("deepchem_dft.runs")


@dataclass(frozen=True)
class _Task:
    """What a worker gets: one molecule, its functionals, where to start and what to keep."""

    molecule: Molecule
    functionals: list[Functional]
    paths: list[dict[str, Path | None]]
    densities_for: Functional | None
    scf: SCFOptions
    guess: Path | None
    afresh: bool


class Solver:
    """Solve molecules in parallel; a context manager that owns the worker processes.

    Under torchrun, its processes are the workers: they share the molecules of every
    :meth:`solve`, which all of them must call, and process 0 keeps what is found.

    Parameters
    ----------
    processes : int, optional
        Workers, one thread each; default all cores this process may use. 1 solves right here.
        Of no account under torchrun.
    scf : SCFOptions, optional
        How fields are solved.
    cache : Path, optional
        File of solutions already known.
    states : Path, optional
        Folder for converged orbitals (see ``keep_states`` of :meth:`solve`).
    **options
        ``tol``, ``stability`` and so on by name; see :class:`~deepchem_dft.scf.SCFOptions`.

    Notes
    -----
    A task is one molecule with all its functionals: integrals are made once, and each functional
    starts from the orbitals of the one before. Atoms start afresh every time: an open shell has
    several solutions, and which one is found must not depend on what was solved before.
    """

    def __init__(
        self,
        processes: int | None = None,
        scf: SCFOptions | None = None,
        *,
        cache: Path | None = None,
        states: Path | None = None,
        **options: Any,
    ) -> None:
        self.processes, self.scf = processes or available_cpus(), SCFOptions.of(scf, **options)
        kept: list[EnergyCache] = []  # of several processes, number 0 alone keeps what is found
        parallel.on_main(lambda: kept.append(EnergyCache(cache)))
        self.cache = kept[0] if kept else EnergyCache(None)
        self.states = states
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Solver:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.close(kill=kind is not None)
        self.cache.close()

    def close(self, kill: bool = False) -> None:
        """Stop the workers; ``kill`` does not wait for what they are doing."""
        pool, self._pool = self._pool, None
        if pool is not None:
            close_pool(pool, kill=kill)

    def path(self, molecule: Molecule, functional: Functional, kind: str) -> Path | None:
        """Where the ``state`` or the ``density`` of a solution is kept, or None."""
        if self.states is None:
            return None
        name = "".join(c if c.isalnum() else "_" for c in functional.key)
        return self.states / f"{molecule.key[:24]}-{name}.{kind}.pt"

    def load_state(self, molecule: Molecule, functional: Functional) -> Any:
        """Return the kept ``SCFState``, or None."""
        path = self.path(molecule, functional, "state")
        return _load_state(path) if path is not None and path.is_file() else None

    def solve(
        self,
        requests: Sequence[tuple[Molecule, Sequence[Functional]]],
        *,
        keep_states: bool = False,
        densities_for: Functional | None = None,
        small_first: bool = False,
        afresh: bool = False,
        on_solution: Callable[[EnergyRecord, int, int], None] | None = None,
    ) -> dict[tuple[str, str], EnergyRecord]:
        """Solve every requested pair of molecule and functional, skipping what the cache knows.

        Parameters
        ----------
        requests : list of (Molecule, list of Functional)
            Cheap functionals first: each starts from the last one's orbitals, atoms excepted.
            Repetitions are solved once.
        keep_states : bool
            Store converged orbitals in the folder for states.
        densities_for : Functional, optional
            Also store what this functional needs for its energy at the converged densities (a
            :class:`~deepchem_dft.scf.frozen.binned.BinnedDensity`).
        small_first : bool
            Solve cheap molecules first, so that most are known if the work is stopped; costly ones first are
            done sooner by several workers.
        afresh : bool
            Start every functional from the molecule's own guess, as with atoms. Where bonds are broken
            there are several solutions, and a functional that starts from another's may end in a higher one.
        on_solution : callable, optional
            Called with each new solution, how many are done, and how many there are.

        Returns
        -------
        dict
            (molecule key, functional key) to EnergyRecord.

        Raises
        ------
        FunctionalError
            If a functional returns values that are not numbers.
        DeepChemDFTError
            If a worker process dies, for lack of memory as a rule.
        """
        wanted = _merged(requests)
        # What is known and what is stored, only process 0 can say for all.
        tasks = parallel.on_main(
            lambda: self._tasks(wanted, keep_states, densities_for, not small_first, afresh)
        )
        done, total = 0, sum(len(task.functionals) for task in tasks)

        def keep(solutions: list[EnergyRecord]) -> None:
            nonlocal done
            for solution in solutions:
                done += 1
                self.cache.add(solution)
                if not solution.converged:
                    LOGGER.warning(
                        "%s did not converge with %s (%s)",
                        solution.name,
                        solution.functional,
                        solution.status,
                    )
                if on_solution is not None:
                    on_solution(solution, done, total)

        if parallel.world_size() > 1:
            parallel.doing("solving systems")
            parallel.share_out(_solve_task, tasks, keep)
        else:
            for solutions in self._run(tasks):
                keep(solutions)
        return parallel.on_main(lambda: self._found(wanted))

    def _found(
        self, wanted: Sequence[tuple[Molecule, list[Functional]]]
    ) -> dict[tuple[str, str], EnergyRecord]:
        found = {(m.key, f.key): self.cache.get(m.key, f.key) for m, fs in wanted for f in fs}
        return {key: solution for key, solution in found.items() if solution is not None}

    def _tasks(
        self,
        wanted: Sequence[tuple[Molecule, list[Functional]]],
        keep_states: bool,
        densities_for: Functional | None,
        costly_first: bool,
        afresh: bool,
    ) -> list[_Task]:
        """Return what is still to be solved, in order."""
        kinds = ["state"] * keep_states + ["density"] * (densities_for is not None)
        tasks = []
        for molecule, functionals in sorted(wanted, key=lambda pair: _cost(pair[0]), reverse=costly_first):
            missing = [f for f in functionals if not self._known(molecule, f, kinds)]
            if missing:
                paths = [{k: self.path(molecule, f, k) for k in kinds} for f in missing]
                anew = afresh or _is_atom(molecule)
                guess = None if anew else self._nearest_state(molecule)
                tasks.append(_Task(molecule, missing, paths, densities_for, self.scf, guess, anew))
        return tasks

    def _known(self, molecule: Molecule, functional: Functional, kinds: Sequence[str]) -> bool:
        found = self.cache.get(molecule.key, functional.key)
        if found is None or not found.converged:
            return found is not None
        if functional.calibration is not None and found.members is None:
            return False  # solved before members' energies were kept
        # A density is written after its orbitals, and may have come without them.
        paths = [self.path(molecule, functional, kind) for kind in kinds[-1:]]
        return all(path is None or path.is_file() for path in paths)

    def _nearest_state(self, molecule: Molecule) -> Path | None:
        """Return the newest stored orbitals of the molecule, whatever the functional."""
        if self.states is None:
            return None
        found = list(self.states.glob(f"{molecule.key[:24]}-*.state.pt"))
        return max(found, key=lambda path: path.stat().st_mtime) if found else None

    def _run(self, tasks: Sequence[_Task]) -> Iterator[list[EnergyRecord]]:
        if self.processes == 1 or len(tasks) < 2:
            yield from map(_solve_task, tasks)
            return
        pool = self._pool = self._pool or worker_pool(self.processes)
        try:
            pending: set[Future] = {pool.submit(_solve_task, task) for task in tasks}
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool:
            self.close(kill=True)
            raise DeepChemDFTError(
                "a worker process died, most likely for lack of memory. Remedy: use fewer "
                "processes (evaluation.processes=1) or a smaller basis; in a script of your own, "
                "start the run under `if __name__ == '__main__':`"
            ) from None
        except BaseException:
            self.close(kill=True)
            raise


def _merged(
    requests: Sequence[tuple[Molecule, Sequence[Functional]]],
) -> list[tuple[Molecule, list[Functional]]]:
    """Join requests for the same molecule, keeping the order of functionals."""
    wanted: dict[str, tuple[Molecule, dict[str, Functional]]] = {}
    for molecule, functionals in requests:
        known = wanted.setdefault(molecule.key, (molecule, {}))[1]
        known.update({f.key: f for f in functionals})
    return [(molecule, list(known.values())) for molecule, known in wanted.values()]


def _cost(molecule: Molecule) -> float:
    return len(molecule.symbols) * float(molecule.nao) ** 2


def _is_atom(molecule: Molecule) -> bool:
    return len(molecule.symbols) == 1


def _solve_task(task: _Task) -> list[EnergyRecord]:
    """Solve one molecule with several functionals, in a worker or in this process."""
    from deepchem_dft.molecule import cache

    # Nothing kept means this molecule will not come back, and its integrals are gigabytes.
    keeping = any(path is not None for paths in task.paths for path in paths.values())
    with nullcontext() if keeping else cache.read_only():
        return _solve_all(task)


def _solve_all(task: _Task) -> list[EnergyRecord]:
    import torch

    from deepchem_dft.scf import KohnSham

    guess = None if task.guess is None else _load_state(task.guess)
    out = []
    for functional, paths in zip(task.functionals, task.paths):
        start = time.perf_counter()
        module = functional.load()
        problem = KohnSham(task.molecule, module, task.scf)
        try:
            with torch.no_grad():
                result = problem.run(on_unconverged="continue", guess=guess)
                if not result.converged and guess is not None:
                    result = problem.run(on_unconverged="continue")
        except FunctionalError as error:
            raise FunctionalError(
                f"{task.molecule.name} with functional '{functional.label}': {error.problem}",
                remedy=error.remedy,
            ) from None
        if result.converged:
            guess = None if task.afresh else result.state
            _keep(result, paths, task.densities_for)
        members = None
        if result.converged and functional.calibration is not None:
            members = module.energies(result).tolist()
        out.append(
            EnergyRecord(
                molecule=task.molecule.key,
                functional=functional.key,
                name=task.molecule.name,
                energy=float(result.energy.detach()) if result.converged else math.nan,
                converged=bool(result.converged),
                status=result.status.name.lower(),
                iterations=int(result.iterations),
                seconds=round(time.perf_counter() - start, 3),
                members=members,
                notes=list(result.notes),
            )
        )
    task.molecule.release()
    return out


def _keep(result: Any, paths: dict[str, Path | None], densities_for: Functional | None) -> None:
    """Store the orbitals, and the density for another functional, of a converged result."""
    if (path := paths.get("state")) is not None:
        files.write(path, {"state": result.state.to_dict()})
    if (path := paths.get("density")) is not None and densities_for is not None:
        from deepchem_dft.scf import SCFLayer
        from deepchem_dft.scf.frozen.binned import bin_density

        target = densities_for.load()
        frozen = result.frozen
        if not frozen.serves(target):
            frozen = SCFLayer(target).frozen_density(result.molecule, result.state)
        bin_density(frozen, target).save(path)


def _load_state(path: Path) -> Any:
    """Return stored orbitals; None if the file is damaged, as they can be found again."""
    from deepchem_dft.scf import SCFState

    try:
        return SCFState.from_dict(files.read(path)["state"])
    except (CheckpointError, KeyError, TypeError, ValueError) as error:
        warnings.warn(f"stored orbitals are damaged, and found again: {error}", stacklevel=2)
        return None
