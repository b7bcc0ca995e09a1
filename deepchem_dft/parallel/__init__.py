"""Several processes of one run, as torchrun starts them: sharing work, numbers and errors."""

from deepchem_dft.parallel.collectives import (
    activity,
    check_same,
    copy_from_main,
    doing,
    first_to_report,
    gather,
    gather_on_main,
    leave,
    on_main,
    raise_first,
    total,
)
from deepchem_dft.parallel.process_group import alone, launched, rank, world_size
from deepchem_dft.parallel.share import share_out

__all__ = [
    "activity",
    "alone",
    "check_same",
    "copy_from_main",
    "doing",
    "first_to_report",
    "gather",
    "gather_on_main",
    "launched",
    "leave",
    "on_main",
    "raise_first",
    "rank",
    "share_out",
    "total",
    "world_size",
]
