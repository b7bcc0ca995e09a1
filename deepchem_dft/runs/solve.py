"""Solving many molecules with several functionals in worker processes, each only once."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import os
import signal
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

from ..errors import DeepChemDFTError, FunctionalError

if TYPE_CHECKING:
    from ..molecule import Molecule

LOGGER = logging.getLogger("deepchem_dft.runs")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Functional:
    """A functional that can be sent to another process.

    Attributes
    ----------
    label : str
        Name of its row in tables.
    key : str
        Identity: two functionals with one key have equal energies.
    payload : str or bytes
        A name libxc knows, or a pickled module.
    """

    label: str
    key: str
    payload: str | bytes = field(repr=False)

    @classmethod
    def named(cls, name: str) -> Functional:
        """Return a conventional functional; raises ``FunctionalError`` for unknown names."""
        from ..xc import get_xc

        get_xc(name)
        return cls(name, name, name)

    @classmethod
    def trained(cls, module: Any, label: str = "trained") -> Functional:
        """Return a functional with the module's present parameters."""
        import hashlib

        import torch

        digest = hashlib.sha256(repr(module).encode())
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        buffer = io.BytesIO()
        # torch.save, not pickle: sharing tensors by file descriptor would run out of them.
        torch.save(module.cpu(), buffer)
        return cls(label, f"module:{digest.hexdigest()[:32]}", buffer.getvalue())

    def load(self) -> Any:
        """Return the name or the module, for ``KohnSham``."""
        if isinstance(self.payload, str):
            return self.payload
        import torch

        return torch.load(io.BytesIO(self.payload), weights_only=False)


@dataclass
class Solution:
    """Outcome of one self-consistent field calculation.

    ``energy`` is in Hartree and NaN unless ``converged``; ``seconds`` include making integrals
    for the first functional of a molecule.
    """

    molecule: str
    functional: str
    name: str
    energy: float
    converged: bool
    status: str
    iterations: int
    seconds: float


class EnergyCache:
    """Solutions on disk, one JSON object per line, so that a killed run loses nothing.

    Parameters
    ----------
    path : Path or None
        The file; None keeps solutions in memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._known: dict[tuple[str, str], Solution] = {}
        if path is not None and path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                # A kill can cut the last line short; what it said is computed again.
                with contextlib.suppress(ValueError, TypeError):
                    raw = json.loads(line)
                    raw["energy"] = math.nan if raw["energy"] is None else raw["energy"]
                    self._remember(Solution(**raw))

    def _remember(self, solution: Solution) -> None:
        self._known[solution.molecule, solution.functional] = solution

    def get(self, molecule: str, functional: str) -> Solution | None:
        """Look up a solution by molecule key and functional key."""
        return self._known.get((molecule, functional))

    def add(self, solution: Solution) -> None:
        """Remember a solution and append it to the file."""
        self._remember(solution)
        if self.path is None:
            return
        raw = asdict(solution)
        raw["energy"] = solution.energy if solution.converged else None
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(raw) + "\n")


class Solver:
    """Solve molecules in parallel; a context manager that owns the worker processes.

    Parameters
    ----------
    processes : int, optional
        Workers, one thread each; default all cores this process may use. 1 solves right here.
    tol : float
        Convergence threshold of the self-consistent field.
    cache : Path, optional
        File of solutions already known.
    states : Path, optional
        Folder for converged orbitals (see ``keep_states`` of :meth:`solve`).

    Notes
    -----
    A task is one molecule with all its functionals: integrals are made once, and each functional
    starts from the orbitals of the one before.
    """

    def __init__(
        self,
        processes: int | None = None,
        tol: float = 1e-6,
        cache: Path | None = None,
        states: Path | None = None,
    ) -> None:
        self.processes = processes or available_cpus()
        self.tol = tol
        self.cache = EnergyCache(cache)
        self.states = states
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Solver:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.close(kill=kind is not None)

    def close(self, kill: bool = False) -> None:
        """Stop the workers; ``kill`` does not wait for what they are doing."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        workers = list((getattr(pool, "_processes", None) or {}).values())
        pool.shutdown(wait=not kill, cancel_futures=True)
        if kill:
            for worker in workers:
                worker.terminate()

    def state_path(self, molecule: Molecule, functional: Functional) -> Path | None:
        """Where converged orbitals are kept, or None."""
        if self.states is None:
            return None
        name = "".join(c if c.isalnum() else "_" for c in functional.key)
        return self.states / f"{molecule.key[:24]}-{name}.pt"

    def load_state(self, molecule: Molecule, functional: Functional) -> Any:
        """Return the kept ``SCFState``, or None."""
        from ..scf import SCFState

        path = self.state_path(molecule, functional)
        if path is None or not path.is_file():
            return None
        import torch

        return SCFState.from_dict(torch.load(path, weights_only=True))

    def solve(
        self,
        molecules: Sequence[Molecule],
        functionals: Sequence[Functional],
        *,
        keep_states: bool = False,
        on_solution: Callable[[Solution, int, int], None] | None = None,
    ) -> dict[tuple[str, str], Solution]:
        """Solve every molecule with every functional, skipping what the cache knows.

        Parameters
        ----------
        molecules : list of Molecule
            Repetitions are solved once.
        functionals : list of Functional
            Cheap ones first: each starts from the last one's orbitals.
        keep_states : bool
            Store converged orbitals in the folder for states.
        on_solution : callable, optional
            Called with each new solution, how many are done, and how many there are.

        Returns
        -------
        dict
            (molecule key, functional key) to Solution.

        Raises
        ------
        FunctionalError
            If a functional returns values that are not numbers.
        DeepChemDFTError
            If a worker process dies, for lack of memory as a rule.
        """
        unique = {molecule.key: molecule for molecule in molecules}
        tasks, total = [], 0
        for molecule in sorted(unique.values(), key=_cost, reverse=True):
            missing = [f for f in functionals if not self._known(molecule, f, keep_states)]
            if missing:
                paths = [str(p) if keep_states and (p := self.state_path(molecule, f)) else None
                         for f in missing]  # fmt: skip
                tasks.append((molecule, missing, paths, self._nearest_state(molecule, functionals)))
                total += len(missing)
        done = 0
        for solutions in self._run(tasks):
            for solution in solutions:
                done += 1
                self.cache.add(solution)
                if not solution.converged:
                    LOGGER.warning("%s did not converge with %s (%s)", solution.name,
                                   solution.functional, solution.status)  # fmt: skip
                if on_solution is not None:
                    on_solution(solution, done, total)
        return {
            (m, f.key): found
            for m in unique
            for f in functionals
            if (found := self.cache.get(m, f.key)) is not None
        }

    def _known(self, molecule: Molecule, functional: Functional, need_state: bool) -> bool:
        found = self.cache.get(molecule.key, functional.key)
        if found is None:
            return False
        path = self.state_path(molecule, functional) if need_state and found.converged else None
        return path is None or path.is_file()

    def _nearest_state(self, molecule: Molecule, functionals: Sequence[Functional]) -> str | None:
        for functional in functionals:
            path = self.state_path(molecule, functional)
            if path is not None and path.is_file():
                return str(path)
        return None

    def _run(self, tasks: Sequence[tuple]) -> Iterator[list[Solution]]:
        if self.processes == 1 or not tasks:
            for task in tasks:
                yield _solve_task(*task, self.tol)
            return
        pool = self._start()
        pending: set[Future] = {pool.submit(_solve_task, *task, self.tol) for task in tasks}
        try:
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

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Children read these once, at their first import of numpy and torch. spawn, not
            # fork: forking a process that has used OpenMP threads can hang.
            before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
            os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
            try:
                self._pool = ProcessPoolExecutor(
                    self.processes, mp_context=get_context("spawn"), initializer=_start_worker
                )
                # Workers start one per submitted job; make all of them start now.
                for ready in [self._pool.submit(_ready) for _ in range(self.processes)]:
                    ready.result()
            finally:
                for name, value in before.items():
                    os.environ.pop(name) if value is None else os.environ.update({name: value})
        return self._pool


def available_cpus() -> int:
    """Return how many cores this process may use (containers may allow fewer than there are)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def _cost(molecule: Molecule) -> float:
    return len(molecule.symbols) * float(molecule.nao) ** 2


def _ready() -> None:
    time.sleep(0.05)  # long enough that one worker cannot take every such job


def _start_worker() -> None:
    """Prepare a worker: one thread, deaf to Ctrl-C (the parent decides), gone with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()

    def leave_with_parent() -> None:
        parent.join()  # type: ignore[union-attr]
        os._exit(1)

    if parent is not None:
        threading.Thread(target=leave_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)


def _solve_task(
    molecule: Molecule,
    functionals: Sequence[Functional],
    state_paths: Sequence[str | None],
    guess_path: str | None,
    tol: float,
) -> list[Solution]:
    """Solve one molecule with several functionals, in a worker or in this process."""
    import torch

    from ..scf import KohnSham, SCFState

    guess = None
    if guess_path is not None:
        guess = SCFState.from_dict(torch.load(guess_path, weights_only=True))
    out = []
    for functional, path in zip(functionals, state_paths):
        start = time.perf_counter()
        xc = functional.load()
        try:
            with torch.no_grad():
                result = KohnSham(molecule, xc, tol=tol).run(on_unconverged="continue", guess=guess)
        except FunctionalError as error:
            raise FunctionalError(
                f"{molecule.name} with functional '{functional.label}': {error.problem}",
                remedy=error.remedy,
            ) from None
        converged = bool(result.converged)
        if converged:
            guess = result.state
            if path is not None:
                _save_state(path, result.state)
        out.append(
            Solution(
                molecule=molecule.key,
                functional=functional.key,
                name=molecule.name,
                energy=float(result.energy) if converged else math.nan,
                converged=converged,
                status=str(getattr(result.status, "value", result.status)),
                iterations=int(result.iterations),
                seconds=round(time.perf_counter() - start, 3),
            )
        )
    molecule.release()
    return out


def _save_state(path: str, state: Any) -> None:
    import torch

    partial = f"{path}.{os.getpid()}"
    torch.save(state.to_dict(), partial)
    os.replace(partial, path)
