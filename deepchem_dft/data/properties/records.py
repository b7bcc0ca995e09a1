"""What the readers of property data hand over: a molecule or crystal with its labels, checked."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.molecule.geometry import NUCLEAR_CHARGE

Item = TypeVar("Item")
#: What to do with a record that cannot be used: raise its error, or write it down and go on.
OnBad = Callable[[InputError], None]


@dataclass(frozen=True)
class PropertyRecord:
    """One sample of a property data set.

    Attributes
    ----------
    ident : str
        What a data set calls it: SMILES of a molecule (splitters look at them), else a name.
    subject : object
        RDKit molecule or `deepchem_dft.data.properties.records.Crystal`.
    values : dict of str to float
        Finite labels by the name of the task.
    file, entry : str
        Where it stands, for messages.
    """

    ident: str
    subject: Any
    values: dict[str, float] = field(default_factory=dict)
    file: str = ""
    entry: str = ""


def refuse(error: InputError) -> None:
    """Raise the error: the usual answer to a bad record."""
    raise error


def each(
    items: Iterable[Item], make: Callable[[Item], PropertyRecord], bad: OnBad
) -> Iterator[PropertyRecord]:
    """Yield ``make(item)``; ``bad`` decides what becomes of items it raises `InputError` for."""
    for item in items:
        try:
            record = make(item)
        except InputError as error:
            bad(error)
        else:
            yield record


def finite(value: Any, file: str, entry: str, field: str) -> float:
    """Read a label.

    Parameters
    ----------
    value : float, int or str
    file, entry, field : str
        Where it stands.

    Raises
    ------
    InputError
        If there is none, or no finite number.

    Examples
    --------
    >>> finite("1.5", "a.csv", "line 2", "gap")
    1.5
    >>> finite(None, "a.json", "qmof-1", "info.pld")
    Traceback (most recent call last):
    ...
    deepchem_dft.errors.InputError: a.json, entry qmof-1, field 'info.pld': there is no value...
    """
    remedy = "repair the record, or leave bad ones out by on_bad='skip'"
    if value is None or (isinstance(value, str) and not value.strip()):
        raise InputError("there is no value", file=file, entry=entry, field=field, remedy=remedy)
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(
            f"{str(value)[:40]!r} is not a finite number", file=file, entry=entry, field=field, remedy=remedy
        )
    return number


def nested(record: Any, path: str, file: str, entry: str) -> Any:
    """Return ``record["a"]["b"]`` for ``"a.b"``.

    Raises
    ------
    InputError
        Naming the path if a part of it is missing.

    Examples
    --------
    >>> nested({"info": {"pld": 3.2}}, "info.pld", "a.json", "1")
    3.2
    """
    value = record
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            raise InputError(
                "the field is missing",
                file=file,
                entry=entry,
                field=path,
                remedy="give the file as it was released",
            )
        value = value[key]
    return value


def from_smiles(smiles: str, file: str, entry: str) -> Any:
    """Return the RDKit molecule of a SMILES text.

    Raises
    ------
    InputError
        With the given file and entry if there is no such molecule.

    Examples
    --------
    >>> from_smiles("[H]C([H])([H])O[H]", "a.csv", "line 2").GetNumAtoms()
    2
    """
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles) if smiles else None
    if molecule is None or not molecule.GetNumAtoms():
        raise InputError(f"RDKit cannot read {smiles[:80]!r}", file=file, entry=entry, field="smiles")
    return molecule


def molecule_record(molecule: Any, values: dict[str, float], file: str, entry: str) -> PropertyRecord:
    """Return a record whose name is the canonical SMILES of the molecule."""
    from rdkit import Chem

    return PropertyRecord(Chem.MolToSmiles(molecule), molecule, values, file, entry)


@dataclass(frozen=True, eq=False)
class Crystal:
    """Atoms that repeat in three directions.

    Attributes
    ----------
    name : str
        For messages.
    numbers : np.ndarray
        (N,) nuclear charges.
    positions : np.ndarray
        (N, 3) Cartesian, Angstrom.
    cell : np.ndarray
        (3, 3) lattice vectors in rows, Angstrom.
    """

    name: str
    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray

    @classmethod
    def create(cls, name: str, symbols: Sequence[str], fractional: Any, cell: Any) -> "Crystal":
        """Make a crystal of fractional coordinates.

        Parameters
        ----------
        name : str
        symbols : sequence of str
            Elements.
        fractional : array_like
            (N, 3), in units of the lattice vectors.
        cell : array_like
            (3, 3) lattice vectors in rows, Angstrom.

        Raises
        ------
        InputError
            For unknown elements, numbers that are not finite, a cell without volume.

        Examples
        --------
        >>> salt = Crystal.create("NaCl", ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]],
        ...                       [[0, 2.82, 2.82], [2.82, 0, 2.82], [2.82, 2.82, 0]])
        >>> salt.numbers.tolist(), salt.positions[1].tolist()
        ([11, 17], [2.82, 2.82, 2.82])
        """
        for number, symbol in enumerate(symbols, start=1):
            if symbol not in NUCLEAR_CHARGE:
                raise InputError(
                    f"{symbol!r} (atom {number}) is no element",
                    entry=name,
                    field="sites",
                    remedy="atoms must be whole and of one element",
                )
        if not len(symbols):
            raise InputError("there are no atoms", entry=name, field="sites")
        lattice = _array(cell, (3, 3), name, "cell")
        if abs(np.linalg.det(lattice)) < 1e-3:
            raise InputError(
                "the cell has no volume",
                entry=name,
                field="cell",
                remedy="give three lattice vectors in Angstrom",
            )
        inside = _array(fractional, (len(symbols), 3), name, "sites")
        numbers = np.array([NUCLEAR_CHARGE[symbol] for symbol in symbols])
        return cls(name, numbers, inside @ lattice, lattice)


def _array(values: Any, shape: tuple[int, ...], name: str, field: str) -> np.ndarray:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != shape:
        raise InputError(f"{shape[0]} x {shape[1]} numbers are needed", entry=name, field=field)
    if not np.isfinite(array).all():
        raise InputError("a coordinate is not a finite number", entry=name, field=field)
    return array
