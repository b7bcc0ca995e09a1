"""Worker processes of one machine, one thread each; work in order, none of it lost."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import connection, parent_process
from multiprocessing.context import SpawnContext
from typing import Any

from deepchem_dft.errors import ProcessLost

#: Items given out per worker: enough to keep it busy, and all that a kill can lose.
_AHEAD = 4
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def available_cpus() -> int:
    """Return how many cores this process may use (containers may allow fewer than there are)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def worker_pool(jobs: int) -> ProcessPoolExecutor:
    """Return a pool of spawned processes with one thread each, which end when this one does."""
    # Not forked: the threads of whoever calls this (progress bars, torch) must not be copied.
    return ProcessPoolExecutor(jobs, mp_context=_OneThreadContext(), initializer=_begin)


def close_pool(pool: ProcessPoolExecutor, *, wait: bool = True, kill: bool = False) -> None:
    """Stop workers: when they are done, as soon as they are with what they do, or at once."""
    workers = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=wait and not kill, cancel_futures=True)
    if kill:
        for worker in workers:
            worker.terminate()


class _OneThreadContext(SpawnContext):
    """Spawns processes that use one thread: there is a process per core already."""

    class Process(SpawnContext.Process):  # type: ignore
        def start(self) -> None:
            # Read once, at the first import of numpy and torch, so that it has to be there then.
            before = {name: os.environ.get(name) for name in _THREADS}
            os.environ.update(dict.fromkeys(_THREADS, "1"))
            try:
                super().start()
            finally:
                for name, value in before.items():
                    os.environ.pop(name) if value is None else os.environ.update({name: value})


def _begin() -> None:
    """Prepare a worker: the parent handles Ctrl-C, and nobody works for a parent that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


@dataclass
class JobCount:
    """How far the work on many items is.

    Attributes
    ----------
    total, done, failed : int
        Items in all, those that are finished, and how many of those have a problem.
    resumed : int
        Items that an earlier run had finished.
    problems : dict
        What is wrong with those that failed, by name, where that is kept.
    """

    total: int
    done: int = 0
    failed: int = 0
    resumed: int = 0
    problems: dict[str, str] = field(default_factory=dict)


def in_order(
    work: Callable[[Any], Any], items: Iterable[Any], jobs: int, lost: Callable[[Any], Any]
) -> Iterator[Any]:
    """Yield ``work(item)`` for each item, in order, worked out by other processes.

    Parameters
    ----------
    work : callable
        A function of a module, or a ``functools.partial`` of one.
    items : iterable
        Taken a few at a time.
    jobs : int
        Number of processes. Each uses one thread and ends when this process does.
    lost : callable
        ``lost(item)`` is the result of an item whose process dies.

    Raises
    ------
    ProcessLost
        If no process can be started.

    Notes
    -----
    Processes are spawned, so a script that calls this needs the usual
    ``if __name__ == "__main__":``.
    """
    workers = _Ordered(work, jobs, lost)
    try:
        for item in items:
            workers.give(item)
            if len(workers.pending) >= _AHEAD * jobs:
                yield workers.take()
        while workers.pending:
            yield workers.take()
    finally:
        close_pool(workers.pool, wait=False)


class _Ordered:
    def __init__(self, work: Callable, jobs: int, lost: Callable) -> None:
        self.work, self.jobs, self.lost = work, jobs, lost
        self.pending: deque[tuple[Any, Future | None]] = deque()
        self.pool = worker_pool(jobs)

    def give(self, item: Any) -> None:
        try:
            future = self.pool.submit(self.work, item)
        except BrokenProcessPool:  # noticed when its turn comes
            future = None
        self.pending.append((item, future))

    def take(self) -> Any:
        """Return the result of the first item that is pending."""
        item, future = self.pending.popleft()
        try:
            if future is not None:
                return future.result()
        except BrokenProcessPool:
            pass
        # A process died, and nobody knows over which item: the first one now gets its own.
        self.pool.shutdown(wait=False, cancel_futures=True)
        result = self._alone(item)
        self.pool = worker_pool(self.jobs)
        again = [item for item, _ in self.pending]
        self.pending.clear()
        for other in again:
            self.give(other)
        return result

    def _alone(self, item: Any) -> Any:
        with worker_pool(1) as pool:
            try:
                pool.submit(_begin_nothing).result()
            except BrokenProcessPool:
                raise ProcessLost("processes cannot be started here, or end at once") from None
            try:
                return pool.submit(self.work, item).result()
            except BrokenProcessPool:
                return self.lost(item)


def _begin_nothing() -> None:
    """Show that a process can be started; what it dies of later is its work."""
