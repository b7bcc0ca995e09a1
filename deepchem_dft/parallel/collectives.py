"""Numbers, objects and errors from process to process; a lost process ends that of all."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from deepchem_dft.errors import DeepChemDFTError, InputError, ProcessLost
from deepchem_dft.parallel.process_group import alone, current

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
_activity = "starting"


def doing(activity: str) -> None:
    """Note what this process is busy with, for the message if another process is lost."""
    global _activity
    _activity = activity


def activity() -> str:
    """Return what :func:`doing` was told last."""
    return _activity


@contextmanager
def talking() -> Iterator[None]:
    """Tell failures of the connection from all others."""
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[.*?\] ", "", str(error).partition("\n")[0]).partition(". ")[0]
        raise ProcessLost(
            f"{_activity}: another process was lost, or did not answer in time ({reason}). "
            "The newest checkpoint is whole. Remedy: start again and go on from there with "
            "fit(restore=True); any number of processes will do."
        ) from error


def total(numbers: "Tensor") -> "Tensor":
    """Return the sum over all processes of a CPU tensor, which is overwritten."""
    group = current()
    if group.size > 1:
        import torch.distributed as dist

        with talking():
            dist.all_reduce(numbers, group=group.group)
    return numbers


def copy_from_main(tensors: "Sequence[Tensor]") -> None:
    """Overwrite tensors with those of process 0."""
    group = current()
    if group.size == 1 or not tensors:
        return
    import torch
    import torch.distributed as dist

    with torch.no_grad():
        flat = torch.cat([t.detach().reshape(-1).to("cpu", torch.float64) for t in tensors])
        with talking():
            dist.broadcast(flat, 0, group=group.group)
        if group.rank:
            sizes = [t.numel() for t in tensors]
            for tensor, values in zip(tensors, flat.split(sizes), strict=True):
                tensor.copy_(values.reshape(tensor.shape))


def gather(value: T) -> list[T]:
    """Return every process's value, by rank. Tensors arrive on the CPU."""
    group = current()
    if group.size == 1:
        return [value]
    import torch.distributed as dist

    parts: list[Any] = [None] * group.size
    with talking():
        dist.all_gather_object(parts, pack(value), group=group.group)
    return [value if r == group.rank else unpack(part) for r, part in enumerate(parts)]


def gather_on_main(value: T) -> list[T]:
    """Return every process's value on process 0, an empty list elsewhere."""
    group = current()
    if group.size == 1:
        return [value]
    import torch.distributed as dist

    parts: list[Any] | None = [None] * group.size if group.rank == 0 else None
    with talking():
        dist.gather_object(pack(value), parts, dst=0, group=group.group)
    return [value, *map(unpack, parts[1:])] if parts else []


def on_main(function: Callable[[], T]) -> T:
    """Call a function on process 0 alone; return its result, or raise its error, on all.

    For all that reads or writes files: the decision that follows must be the same everywhere.
    Tensors arrive on the CPU.

    Examples
    --------
    >>> on_main(lambda: 1 + 1)
    2
    """
    group = current()
    if group.size == 1:
        return function()
    import torch.distributed as dist

    result: Any = None
    failure: Exception | None = None
    message: list[Any] = [None]
    if group.rank == 0:
        try:
            with alone():
                result = function()
            message = [pack((result, None))]
        except Exception as error:
            failure, message = error, [pack((None, _portable(error)))]
    with talking():
        dist.broadcast_object_list(message, 0, group=group.group)
    if group.rank:
        result, failure = unpack(message[0])
    if failure is not None:
        raise failure
    return result


def raise_first(error: tuple[int, Exception] | None) -> None:
    """Raise on all processes the error with the lowest number, if any process has one."""
    told = gather(None if error is None else (error[0], _portable(error[1])))
    told[current().rank] = error  # the one raised here is the very one that happened here
    found = [e for e in told if e is not None]
    if found:
        raise min(found, key=lambda pair: pair[0])[1]


def check_same(what: str, value: str) -> None:
    """Raise on all processes unless each has the same value.

    Raises
    ------
    InputError
        Saying that ``what`` differs.
    """
    if len(set(gather(value))) > 1:
        raise InputError(
            f"the processes were given different {what}",
            remedy="give all of them the same; to work on different ones at once, put the calls "
            "under `with deepchem_dft.parallel.alone():`",
        )


def pack(value: Any) -> bytes:
    """Return a value as bytes; :func:`unpack` puts its tensors on the CPU."""
    import torch

    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def unpack(data: bytes) -> Any:
    """Undo :func:`pack`."""
    import torch

    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)


def _portable(error: Exception) -> Exception:
    """Return an error that other processes can read; not every exception can be pickled."""
    try:
        return unpack(pack(error))
    except Exception:
        return DeepChemDFTError(f"{type(error).__name__}: {error}")


def leave() -> None:
    """Wait for the other processes, at the end of a program."""
    group = current()
    if group.size > 1:
        import torch.distributed as dist

        with talking():
            dist.barrier(group=group.group)


def first_to_report() -> bool:
    """Whether no process has told the user of an error yet; true once in all processes."""
    group = current()
    if group.size == 1:
        return True
    try:
        return group.store.add("deepchem_dft/reports", 1) == 1
    except RuntimeError:  # the process that kept the store is the one that was lost
        return True
