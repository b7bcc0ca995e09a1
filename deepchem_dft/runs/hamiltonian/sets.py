"""The molecules of a run on Hamiltonians: found, parted, and none in two roles."""

import fnmatch
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.runs.hamiltonian.schema import HamiltonianRunConfig, HamiltonianSetRef

ROLES = ("train", "valid", "test")


@dataclass
class HamiltonianSet:
    """Molecules that share a row of the table.

    Attributes
    ----------
    role : str
        train, valid or test.
    label, file : str
    rows : np.ndarray
        Places in the file.
    dataset : HamiltonianDataset
    """

    role: str
    label: str
    file: str
    rows: np.ndarray
    dataset: Any


def load_set(ref: HamiltonianSetRef, role: str, recipes: Sequence[Any] = ()) -> HamiltonianSet:
    """Return the molecules of one reference.

    Raises
    ------
    InputError
        For a file that is missing, with the command that makes it where a recipe is known, or was
        made otherwise; or if nothing is left.
    """
    from deepchem_dft.molnet import load_hamiltonian, load_md17_hamiltonian, load_qh9

    recipe = next((r for r in recipes if r.file == ref.file), None)
    if not os.path.isfile(ref.file):
        remedy = "check the path" if recipe is None else f"make it: {recipe.command()}"
        if ref.format != "hdf5":
            remedy = "download it, and give the path"
        raise InputError("the file does not exist", file=ref.file, field=f"data.{role}", remedy=remedy)
    numbers = {"train": 0, "valid": 1, "test": 2}
    if ref.format == "hdf5":
        _, (whole,), _ = load_hamiltonian(ref.file, splitter=None)
        _compare(whole, recipe)
    else:
        load = load_md17_hamiltonian if ref.format == "md17" else load_qh9
        splitter = None if ref.part == "all" else "published"
        _, parts, _ = load(data_dir=ref.file, splitter=splitter)
        whole = parts[0 if splitter is None else numbers[ref.part]]
    rows = np.arange(len(whole))
    if ref.match is not None:
        rows = rows[[fnmatch.fnmatchcase(str(name), ref.match) for name in whole.ids]]
    rows = rows[ref.skip :][: ref.limit]
    if not len(rows):
        raise InputError(
            f"no molecule is left (of {len(whole)}; the first is called {whole.ids[0]})",
            file=ref.file,
            field=f"data.{role}",
            remedy="change match, skip or limit",
        )
    label = ref.label or Path(ref.file).stem + (f" {ref.match}" if ref.match else "")
    return HamiltonianSet(role, label, ref.file, whole.rows[rows], whole.select(rows))


def _compare(dataset: Any, recipe: Any) -> None:
    """Complain if a file was not made as its recipe says."""
    if recipe is None:
        return
    made = dataset.source.settings
    for name in ("xc", "basis", "sampling", "temperatures", "samples", "charge", "grid_level", "seed"):
        if recipe.sampling == "none" and name in ("temperatures", "samples", "seed"):
            continue
        wanted = getattr(recipe, name)
        if name == "charge" and (wanted or 0) == (made.get(name) or 0):
            continue
        if name in made and made[name] != wanted:
            raise InputError(
                f"the file was made with {name} = {made[name]}, the recipe says {wanted}",
                file=recipe.file,
                field="data.recipes",
                remedy=f"change the recipe, or remove the file and make it again: {recipe.command()}",
            )


def load_hamiltonian_sets(config: HamiltonianRunConfig) -> list[HamiltonianSet]:
    """Return all sets of a run.

    Raises
    ------
    InputError
        Also if a molecule is tested or validated on that was trained on.
    """
    sets = [load_set(ref, role, config.data.recipes) for role in ROLES for ref in getattr(config.data, role)]
    seen: dict[tuple[str, int], HamiltonianSet] = {}
    for one in sets:
        for row, name in zip(one.rows, one.dataset.ids):
            other = seen.setdefault((one.file, int(row)), one)
            if other.role != one.role:
                raise InputError(
                    f"it is in a set for {other.role} and in one for {one.role}",
                    file=one.file,
                    entry=str(name),
                    field=f"data.{one.role}",
                    remedy="part the sets with match, skip and limit",
                )
    return sets
