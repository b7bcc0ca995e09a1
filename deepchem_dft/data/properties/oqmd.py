"""Answers of the OQMD's REST interface about formation energies, as JSON files.

Read is what ``http://oqmd.org/oqmdapi/formationenergy?format=json`` returns (``api_version`` 1.0,
documented at static.oqmd.org/static/docs/restful.html): an object whose ``data`` is a list of
entries with ``name``, ``entry_id``, ``unit_cell`` (3 x 3, Angstrom, vectors in rows), ``sites``
(texts such as ``"Si @ 0.25 0.25 0.25"``, fractional coordinates), ``delta_e`` (eV/atom),
``stability`` (eV/atom above the convex hull) and ``band_gap`` (eV). A bare list of entries, as
programs often store it, is read as well. Ask for the fields that are needed::

    http://oqmd.org/oqmdapi/formationenergy?fields=name,entry_id,unit_cell,sites,delta_e,
    stability,band_gap&limit=1000&offset=0&format=json
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from deepchem_dft.data.properties.records import Crystal, OnBad, PropertyRecord, each, finite, nested, refuse
from deepchem_dft.data.properties.streams import PathLike, json_items
from deepchem_dft.errors import InputError

#: Field of each task: eV/atom, eV, eV/atom.
FIELDS = {"formation_energy": "delta_e", "band_gap": "band_gap", "stability": "stability"}


def read_oqmd(
    path: PathLike, tasks: Iterable[str] = ("band_gap",), bad: OnBad = refuse
) -> Iterator[PropertyRecord]:
    """Yield the entries of OQMD.

    Parameters
    ----------
    path : path
        A JSON file, or a folder of them (one page of results each), plain or ``.gz``.
    tasks : iterable of {"formation_energy", "band_gap", "stability"}
        eV/atom, eV, eV/atom.
    bad : callable
        What to do with entries that cannot be used; file, entry and field are in the error.

    Yields
    ------
    PropertyRecord
        Of a `Crystal`, each ``entry_id`` once.

    Raises
    ------
    InputError
        For files that are missing, malformed or cut off, and as ``bad`` does.

    References
    ----------
    Saal, Kirklin, Aykol, Meredig, Wolverton, JOM 65, 1501 (2013).
    Kirklin et al., npj Comput. Mater. 1, 15010 (2015).
    """
    tasks = list(tasks)
    seen: set[str] = set()
    for file in pages(path):

        def make(numbered: tuple[int, Any], file: str = str(file)) -> PropertyRecord:
            return _record(*numbered, file, tasks)

        for record in each(enumerate(json_items(file, "data"), start=1), make, bad):
            if record.ident not in seen:  # pages fetched one after the other may overlap
                seen.add(record.ident)
                yield record


def pages(path: PathLike) -> list[Path]:
    """Return the JSON files of a folder in order, or the path itself if it is a file.

    Raises
    ------
    InputError
        If there is none.
    """
    path = Path(path)
    if os.path.isfile(path):
        return [path]
    found = sorted([*path.glob("*.json"), *path.glob("*.json.gz")])
    if not found:
        raise InputError(
            "there is no JSON file",
            file=str(path),
            field="data_dir",
            remedy="give a file or folder of answers of the OQMD's REST interface",
        )
    return found


def _record(number: int, entry: Any, file: str, tasks: list[str]) -> PropertyRecord:
    place = f"{number}"
    ident = str(nested(entry, "entry_id", file, place))
    name = f"{number} (entry_id {ident}, {entry.get('name', '?')})"
    values = {
        task: finite(nested(entry, FIELDS[task], file, name), file, name, FIELDS[task]) for task in tasks
    }
    symbols, inside = [], []
    sites = nested(entry, "sites", file, name)
    for site in sites if isinstance(sites, list) else []:
        symbol, at, position = str(site).partition("@")
        words = position.split()
        if not at or len(words) != 3:
            raise InputError(f"{site!r} is not 'Si @ 0 0 0'", file=file, entry=name, field="sites")
        symbols.append(symbol.strip())
        inside.append([finite(word, file, name, "sites") for word in words])
    cell = nested(entry, "unit_cell", file, name)
    try:
        return PropertyRecord(ident, Crystal.create(name, symbols, inside, cell), values, file, name)
    except InputError as error:
        raise error.located(file=file) from None
