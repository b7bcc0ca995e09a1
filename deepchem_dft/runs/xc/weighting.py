"""Weights of rows of boards in the loss, so that large sets do not drown small ones."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from deepchem_dft.data.boards import weights
from deepchem_dft.errors import InputError

if TYPE_CHECKING:
    from deepchem_dft.data import DFTEntry

Balance = Literal["sets", "energies"]


def balanced(entries: "Sequence[DFTEntry]", how: Balance, field: str = "balance") -> list[float]:
    """Return factors on the weights of rows of boards; their mean is 1.

    Parameters
    ----------
    entries : sequence of DFTEntry
    how : {"sets", "energies"}
        ``sets``: the rows of each set count as much together as those of any other. ``energies``: a row of a
        set counts as its error does in the weighted total, inversely as the mean size of the set's energies.
    field : str
        For messages.

    Raises
    ------
    InputError
        For an entry that is no row of a board, or that the total does not count.
    """
    alien = next((e for e in entries if "board" not in e.tags), None)
    if alien is not None:
        raise InputError(
            "it is no row of a board", entry=alien.name, field=field, remedy="leave balance out for this set"
        )
    from deepchem_dft.molnet import board

    if how == "sets":
        sizes = Counter(e.tags["set"] for e in entries)
        return [len(entries) / (len(sizes) * sizes[e.tags["set"]]) for e in entries]
    by_row = {name: weights(board(name)) for name in {str(e.tags["board"]) for e in entries}}
    found = [by_row[e.tags["board"]].get(e.name.partition(":")[2], 0.0) for e in entries]
    mean = sum(found) / len(found)
    if not mean:
        raise InputError(
            "no row counts in the weighted total", field=field, remedy="use balance: sets, or leave it out"
        )
    return [value / mean for value in found]
