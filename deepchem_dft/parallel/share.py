"""Work shared out to whichever process is free next."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, TypeVar

from deepchem_dft.parallel.collectives import gather, pack, raise_first, talking, unpack
from deepchem_dft.parallel.process_group import ProcessGroup, current

T = TypeVar("T")
_jobs = count()


def share_out(
    function: Callable[[Any], T], items: Sequence[Any], on_result: Callable[[T], None] | None = None
) -> list[T]:
    """Apply a function to each item, on whichever process is free next.

    Parameters
    ----------
    function : callable
    items : sequence
        The same on all processes; costly ones first.
    on_result : callable, optional
        Called on process 0 with each result as it comes in.

    Returns
    -------
    list
        On all processes, in the order of the items.

    Examples
    --------
    >>> share_out(abs, [-2, 3])
    [2, 3]
    """
    group = current()
    tell = on_result if on_result is not None and group.rank == 0 else lambda result: None
    done: dict[int, T] = {}
    waiting = set(range(len(items)))

    def tell_what_is_there() -> None:
        for number in sorted(waiting & done.keys()):
            waiting.remove(number)
            tell(done[number])

    if group.size == 1:
        for number, item in enumerate(items):
            done[number] = function(item)
            tell_what_is_there()
        return [done[number] for number in range(len(items))]
    job, error = f"deepchem_dft/job{next(_jobs)}", None
    while (number := _next(group, job)) < len(items):
        try:
            done[number] = function(items[number])
        except Exception as failure:
            error = (number, failure)
            _next(group, job, len(items))  # nobody starts anything more
            break
        with talking():
            group.store.set(f"{job}/{number}", pack(done[number]))
            if group.rank == 0:
                for other in sorted(waiting - done.keys()):
                    if group.store.check([f"{job}/{other}"]):
                        done[other] = unpack(group.store.get(f"{job}/{other}"))
        tell_what_is_there()
    raise_first(error)
    for part in gather(done):
        done.update(part)
    tell_what_is_there()
    return [done[number] for number in range(len(items))]


def _next(group: ProcessGroup, job: str, step: int = 1) -> int:
    with talking():
        return group.store.add(job, step) - step
