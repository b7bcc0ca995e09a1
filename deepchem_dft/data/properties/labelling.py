"""Labels of many molecules by GFN2-xTB: in parallel, survivable, in the order of the input."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deepchem_dft.data.properties import atoms, xtb
from deepchem_dft.data.properties.conformers import geometry
from deepchem_dft.data.properties.label_file import LabelRow, LabelWriter
from deepchem_dft.data.properties.molecule_files import RawMolecule, count_molecules, read_molecules
from deepchem_dft.data.properties.streams import PathLike
from deepchem_dft.errors import InputError
from deepchem_dft.parallel.pool import JobCount, in_order


@dataclass(frozen=True)
class GeometryRecipe:
    """How a geometry is made; see `deepchem_dft.data.properties.conformers.geometry`."""

    seed: int = 0
    conformers: int = 10
    relax: bool = False


def label_one(raw: RawMolecule, recipe: GeometryRecipe | None = None) -> LabelRow:
    """Label one molecule; whatever goes wrong is the problem of the row.

    Examples
    --------
    >>> row = label_one(RawMolecule(1, "carbon dioxide", "O=C=O", "smi"))
    >>> row.smiles, round(row.dipole, 3), row.problem
    ('O=C=O', 0.0, '')
    >>> label_one(RawMolecule(1, "sodium ion", "[Na+]", "smi")).problem
    'charge +1: the dipole moment depends on the origin'
    """
    recipe = recipe or GeometryRecipe()
    try:
        found = geometry(raw, recipe.seed, recipe.conformers)
        positions = found.positions
        if recipe.relax:
            positions = atoms.relax(found.numbers, positions, xtb.ase_calculator())
        labels = xtb.single_point(found.numbers, positions)
    except InputError as error:
        return _failed(raw, error.problem)
    except Exception as error:  # a fault of RDKit, tblite or ASE must not end a run of hours
        return _failed(raw, f"{type(error).__name__}: {error}"[:300])
    return LabelRow(raw.name, found.smiles, labels.dipole, labels.gap, labels.energy)


def _failed(raw: RawMolecule, problem: str) -> LabelRow:
    written = raw.content if isinstance(raw.content, str) and raw.kind == "smi" else ""
    return LabelRow(raw.name, written, problem=problem)


def _died(raw: RawMolecule) -> LabelRow:
    return _failed(raw, "the process that computed it died")


def label_file(
    path: PathLike,
    out: PathLike,
    *,
    jobs: int = 1,
    resume: bool = False,
    recipe: GeometryRecipe | None = None,
    progress: Callable[[JobCount], None] | None = None,
) -> JobCount:
    """Label the molecules of a file.

    Parameters
    ----------
    path : path
        SMILES, SDF or XYZ; see `deepchem_dft.data.properties.molecule_files.read_molecules`.
    out : path
        The file of labels, which grows by one line per molecule.
    jobs : int
        Worker processes, of one thread each.
    resume : bool
        Go on with ``out`` if it is there. The result is that of an undisturbed run, to the byte.
    recipe : GeometryRecipe, optional
    progress : callable, optional
        Called with the count at the beginning and after each molecule.

    Returns
    -------
    JobCount

    Raises
    ------
    InputError
        For input that is no list of molecules, a missing package, an output that cannot be written
        or was begun with other settings. A molecule that fails is not an error.

    Notes
    -----
    Processes are spawned, so a script that calls this needs the usual
    ``if __name__ == "__main__":``.
    """
    recipe = recipe or GeometryRecipe()
    total = count_molecules(path)
    with LabelWriter(out, settings(path, total, recipe), resume) as writer:
        count = JobCount(total, writer.done, writer.failed, writer.done)
        if progress is not None:
            progress(count)
        waiting = (raw for raw in read_molecules(path) if raw.number > count.resumed)
        for row in in_order(partial(label_one, recipe=recipe), waiting, max(1, jobs), _died):
            writer.append(row)
            count.done, count.failed = count.done + 1, count.failed + bool(row.problem)
            if progress is not None:
                progress(count)
    return count


def settings(path: PathLike, total: int, recipe: GeometryRecipe) -> dict[str, Any]:
    """Return all that the labels depend on."""
    import rdkit

    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    versions = {"tblite": xtb.version(), "rdkit": rdkit.__version__}
    if recipe.relax:
        versions["ase"] = atoms.version()
    return {
        "input": Path(path).name,
        "sha256": digest.hexdigest(),
        "molecules": total,
        "method": xtb.METHOD,
        **vars(recipe),
        "versions": versions,
    }
