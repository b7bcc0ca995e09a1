"""What a data set for KSRModel holds: systems, exact energies and densities, weights."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from deepchem.data import Dataset
from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.fitting.ordering import column
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.systems import System


def systems_of(values: Iterable[Any]) -> list[System]:
    """Return the systems of entries: ``System`` objects, or whatever has one as ``system``.

    Raises
    ------
    InputError
        For anything else.

    Examples
    --------
    >>> from deepchem_dft.lattice.systems import h2
    >>> systems_of([h2(1.52)])[0].electrons
    2
    """
    found = []
    for number, value in enumerate(values):
        system = value if isinstance(value, System) else getattr(value, "system", None)
        if not isinstance(system, System):
            raise InputError(
                f"X holds a {type(value).__name__} where a System or an exact state is needed",
                entry=str(number + 1),
                field="X",
                remedy="make the data set with load_ksr, or X of deepchem_dft.lattice.exact()",
            )
        found.append(system)
    return found


def densities_of(values: Sequence[Any], grid: Grid, spins: int) -> Tensor:
    """Return exact densities (N, spins, n), electrons per Bohr.

    Raises
    ------
    InputError
        If an entry has none, or one on another grid.
    """
    rows = []
    for number, value in enumerate(values):
        name = getattr(getattr(value, "system", value), "name", "") or str(number + 1)
        density = getattr(value, "spin_density", None)
        if density is None:
            raise InputError(
                "the entry has no exact density",
                entry=name,
                field="X",
                remedy="use exact states, or density_weight=0 and the usual start",
            )
        if getattr(value, "grid", grid) != grid:
            raise InputError(
                f"the entry's density is on {value.grid}, the model on {grid}",
                entry=name,
                field="grid",
                remedy="give the model the same grid",
            )
        density = torch.as_tensor(np.asarray(density), dtype=torch.float64)
        rows.append(density if spins == 2 else density.sum(0, keepdim=True))
    return torch.stack(rows)


@dataclass(frozen=True)
class KSRSamples:
    """A data set in memory.

    Attributes
    ----------
    entries : list
    systems : list of System
    energy, weight : Tensor, shape (N,), float64
        Energies without the repulsion of the nuclei, Hartree.
    """

    entries: list[Any]
    systems: list[System]
    energy: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.systems)

    @classmethod
    def read(cls, dataset: Dataset) -> "KSRSamples":
        """Read a whole data set.

        Raises
        ------
        InputError
            If it is empty, holds something else, or its labels are not energies of the entries.
        """
        entries = list(dataset.X)
        if not entries:
            raise InputError("the data set has no entries")
        systems, n = systems_of(entries), len(entries)
        energy, weight = column(dataset.y, n, "labels"), column(dataset.w, n, "weights")
        for entry, system, label in zip(entries, systems, energy[:, 0], strict=True):
            exact = getattr(entry, "energy", label)
            if not abs(label - exact) <= 1e-6 * max(1.0, abs(exact)):
                raise InputError(
                    f"the data set's label is {label:.8g} where the exact state says {exact:.8g}",
                    entry=system.name or None,
                    field="y",
                    remedy="do not transform y: labels are energies in Hartree without the "
                    "repulsion of the nuclei",
                )
        return cls(entries, systems, torch.as_tensor(energy[:, 0]), torch.as_tensor(weight[:, 0]))
