"""The QMOF database as released: ``qmof.json`` and ``qmof_structure_data.json``.

Read is the layout of ``qmof_database.zip`` on Figshare (doi 10.6084/m9.figshare.13147324), versions
14 to 18. Both files hold a list with an object per framework, found by ``qmof_id``:

- ``qmof.json``: ``info.pld`` and ``info.lcd`` (pore-limiting and largest-cavity diameter,
  Angstrom), ``outputs.pbe.bandgap`` (eV) and much else;
- ``qmof_structure_data.json`` (3 GB): ``structure`` as pymatgen writes it, with ``lattice.matrix``
  (Angstrom, vectors in rows) and ``sites``, each with ``species`` (``element``, ``occu``) and
  fractional coordinates ``abc``.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from deepchem_dft.data.properties.records import Crystal, OnBad, PropertyRecord, each, finite, nested, refuse
from deepchem_dft.data.properties.streams import PathLike, find_one, json_items
from deepchem_dft.errors import InputError

LABELS = ("qmof.json", "qmof.json.gz")
STRUCTURES = ("qmof_structure_data.json", "qmof_structure_data.json.gz")
#: Field of each task: Angstrom, Angstrom, eV.
FIELDS = {"pld": "info.pld", "lcd": "info.lcd", "band_gap": "outputs.pbe.bandgap"}


def read_qmof(
    folder: PathLike, tasks: Iterable[str] = ("pld",), bad: OnBad = refuse
) -> Iterator[PropertyRecord]:
    """Yield the frameworks of QMOF.

    Parameters
    ----------
    folder : path
        With both files, plain or ``.gz``.
    tasks : iterable of {"pld", "lcd", "band_gap"}
        Angstrom, Angstrom, eV.
    bad : callable
        What to do with entries that cannot be used; file, entry and field are in the error.

    Yields
    ------
    PropertyRecord
        Of a `Crystal`.

    Raises
    ------
    InputError
        For files that are missing, malformed or cut off, frameworks that are in one file only, and
        as ``bad`` does.

    References
    ----------
    Rosen et al., Matter 4, 1578 (2021); npj Comput. Mater. 8, 112 (2022).
    """
    tasks = list(tasks)
    labels_file, structures_file = find_one(folder, LABELS), find_one(folder, STRUCTURES)
    if labels_file == structures_file:
        raise InputError(
            "two files are needed",
            file=str(folder),
            field="data_dir",
            remedy=f"give the folder with {LABELS[0]} and {STRUCTURES[0]}",
        )
    labels = _labels(labels_file, tasks, bad)
    used: set[str] = set()

    def make(item: tuple[str, dict[str, Any]]) -> PropertyRecord:
        name, entry = item
        if name not in labels:
            raise InputError(
                "the framework has no labels", file=str(labels_file), entry=name, field="qmof_id"
            )
        crystal = _crystal(entry, name, str(structures_file))
        return PropertyRecord(name, crystal, labels[name] or {}, str(structures_file), name)

    def whole() -> Iterator[tuple[str, dict[str, Any]]]:
        for name, entry in _named(structures_file, bad):
            used.add(name)
            if labels.get(name, {}) is not None:  # else its labels are known to be bad
                yield name, entry

    yield from each(whole(), make, bad)
    for name in labels:
        if name not in used:
            bad(
                InputError(
                    "the framework has no structure", file=str(structures_file), entry=name, field="qmof_id"
                )
            )


def _named(file: Path, bad: OnBad) -> Iterator[tuple[str, dict[str, Any]]]:
    seen: set[str] = set()
    for number, entry in enumerate(json_items(file), start=1):
        name = entry.get("qmof_id") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name in seen:
            problem = "there is no name" if not isinstance(name, str) else f"{name} is there twice"
            bad(InputError(problem, file=str(file), entry=str(number), field="qmof_id"))
            continue
        seen.add(name)
        yield name, entry


def _labels(file: Path, tasks: list[str], bad: OnBad) -> dict[str, dict[str, float] | None]:
    """Return the labels by name, None for those that were reported as bad."""
    labels: dict[str, dict[str, float] | None] = {}
    for name, entry in _named(file, bad):
        try:
            labels[name] = {
                task: finite(nested(entry, FIELDS[task], str(file), name), str(file), name, FIELDS[task])
                for task in tasks
            }
        except InputError as error:
            labels[name] = None
            bad(error)
    return labels


def _crystal(entry: dict[str, Any], name: str, file: str) -> Crystal:
    cell = nested(entry, "structure.lattice.matrix", file, name)
    sites = nested(entry, "structure.sites", file, name)
    symbols, inside = [], []
    for number, site in enumerate(sites if isinstance(sites, list) else [], start=1):
        species = site.get("species") if isinstance(site, dict) else None
        one = species[0] if isinstance(species, list) and len(species) == 1 else None
        if not isinstance(one, dict) or one.get("occu", 1) != 1 or "abc" not in site:
            raise InputError(
                f"site {number} is not one whole atom with coordinates abc",
                file=file,
                entry=name,
                field="structure.sites",
            )
        symbols.append(str(one.get("element")))
        inside.append(site["abc"])
    try:
        return Crystal.create(name, symbols, inside, cell)
    except InputError as error:
        raise error.located(file=file) from None
