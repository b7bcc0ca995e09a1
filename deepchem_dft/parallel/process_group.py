"""Which processes work together: this one alone, or those that torchrun started."""

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import parent_process
from typing import Any

from deepchem_dft.errors import InputError


@dataclass
class ProcessGroup:
    """The processes of a run, numbered by rank; this one's rank is ``rank``.

    All messages go over gloo on the CPU, also where the model is on a GPU: what is exchanged is small,
    and gloo notices a lost process at once where NCCL would wait for minutes.
    """

    rank: int = 0
    size: int = 1
    group: Any = None
    store: Any = None


_ALONE = ProcessGroup()
_group = _ALONE
_withdrawn = 0


def launched() -> bool:
    """Whether torchrun (or another launcher with its environment) started several of us."""
    names = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
    return (
        names <= os.environ.keys()
        and int(os.environ["WORLD_SIZE"]) > 1
        and parent_process() is None  # a worker inherits the environment, not the place
    )


def rank() -> int:
    """Return the number of this process: 0 if it is alone, and for the one that writes files."""
    return current().rank


def world_size() -> int:
    """Return how many processes work together."""
    return current().size


@contextmanager
def alone() -> Iterator[None]:
    """Work without the other processes: nothing inside waits for them.

    Examples
    --------
    >>> with alone():
    ...     world_size()
    1
    """
    global _withdrawn
    _withdrawn += 1
    try:
        yield
    finally:
        _withdrawn -= 1


def current() -> ProcessGroup:
    """Return the processes we work with; the first call joins those torchrun started."""
    global _group
    if _withdrawn or not (launched() or "torch.distributed" in sys.modules):
        return _ALONE
    import torch.distributed as dist

    if not dist.is_available():
        return _ALONE
    if _group.size > 1 and dist.is_initialized():
        return _group
    if not dist.is_initialized():
        if _group.size > 1 or not launched():  # the group was destroyed, or there never was one
            return _ALONE
        _start()
    if dist.get_world_size() == 1:
        return _ALONE
    _group = ProcessGroup(
        dist.get_rank(),
        dist.get_world_size(),
        dist.new_group(backend="gloo", timeout=_timeout()),
        dist.distributed_c10d._get_default_store(),
    )
    return _group


def _start() -> None:
    import torch
    import torch.distributed as dist

    # Imported later (by an optimiser, say), its functions' default arguments would hold on to the group.
    import torch.distributed.nn.functional

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
    store, rank, size = next(dist.rendezvous("env://", timeout=_timeout()))
    # After a restart by torchrun, the store still has the addresses of the processes before.
    store = dist.PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=_timeout())
    atexit.register(_end)


def _end() -> None:
    """End gloo's threads: one that lives on may abort the interpreter on its way out."""
    import torch.distributed as dist

    # They end with the last reference to a group, which the frame of an error may hold, or a cycle.
    _group.group = _group.store = None
    if dist.is_initialized():
        dist.destroy_process_group()
    gc.collect()


def _timeout() -> timedelta:
    """Return how long to wait for an answer: a system may take long, a broken network for ever."""
    text = os.environ.get("DEEPCHEM_DFT_TIMEOUT", "240")
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < 1e6:
        raise InputError(
            f"DEEPCHEM_DFT_TIMEOUT={text} is not a number of minutes", remedy="set it to 240, or unset it"
        )
    return timedelta(minutes=minutes)
