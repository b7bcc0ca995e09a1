"""What a molecule is in: a solvent, or point charges."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepchem_dft.checks import choice
from deepchem_dft.errors import InputError

#: Models of a solvent, as PySCF and papers write them: with its non-electrostatic part, or a polarisable
#: continuum alone.
SOLVENT_MODELS = {"smd": "SMD", "iefpcm": "IEF-PCM", "cpcm": "C-PCM"}


@dataclass(frozen=True)
class Surroundings:
    """A solvent, or point charges that stay where they are.

    Parameters
    ----------
    solvent : str, optional
        By name, such as ``"water"``; those of SMD.
    model : {"smd", "iefpcm", "cpcm"}
        ``smd`` has the solvent's surface terms besides its polarisation; the other two have its
        dielectric constant alone.
    point_charges : sequence of (charge, x, y, z), optional
        e and Bohr.

    Raises
    ------
    InputError
        For a solvent or model there is not, numbers that are none, or both kinds of surroundings.

    References
    ----------
    Marenich, Cramer and Truhlar, J. Phys. Chem. B 113, 6378 (2009): SMD. Cances, Mennucci and Tomasi,
    J. Chem. Phys. 107, 3032 (1997): IEF-PCM. Barone and Cossi, J. Phys. Chem. A 102, 1995 (1998): C-PCM.

    Examples
    --------
    >>> Surroundings("Water").description
    'water (SMD)'
    >>> Surroundings(point_charges=[(0.4, 0, 0, 4), (-0.4, 0, 0, 6)]).description
    '2 point charges (+0 e in all)'
    """

    solvent: str | None = None
    model: str = "smd"
    point_charges: tuple[tuple[float, float, float, float], ...] = ()

    def __post_init__(self) -> None:
        choice(self.model, SOLVENT_MODELS, "solvent_model")
        if self.solvent is not None:
            object.__setattr__(self, "solvent", _known(self.solvent))
        charges = _numbers(self.point_charges)
        object.__setattr__(self, "point_charges", charges)
        if self.solvent is None and not charges:
            raise InputError(
                "surroundings without a solvent or charges are none",
                field="surroundings",
                remedy="name a solvent, give point charges, or pass None",
            )
        if self.solvent is not None and charges:
            raise InputError(
                "a solvent does not feel point charges here",
                field="surroundings",
                remedy="take one of them: a solvent, or point charges",
            )

    @classmethod
    def of(cls, given: "Surroundings | str | None") -> "Surroundings | None":
        """Return surroundings for what may also be the name of a solvent, or None."""
        if given is None or isinstance(given, Surroundings):
            return given
        if not isinstance(given, str):
            raise InputError(
                f"a {type(given).__name__} is no surroundings",
                field="surroundings",
                remedy="pass Surroundings(...) or the name of a solvent",
            )
        return cls(given)

    @property
    def description(self) -> str:
        """In words."""
        if self.solvent is not None:
            return f"{self.solvent} ({SOLVENT_MODELS[self.model]})"
        total = sum(row[0] for row in self.point_charges)
        return f"{len(self.point_charges)} point charges ({total:+g} e in all)"


def read_point_charges(path: str, unit: str = "angstrom") -> Surroundings:
    """Read charges from a text file with ``charge x y z`` in each line; ``#`` begins a comment.

    Parameters
    ----------
    path : str
    unit : {"angstrom", "bohr"}
        Of the coordinates; charges are in e.

    Raises
    ------
    InputError
        Naming the line that is wrong.
    """
    from deepchem_dft.files import open_text
    from deepchem_dft.units import LENGTH_UNITS

    rows = []
    with open_text(path) as stream:
        lines = stream.read().splitlines()
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            charge, *place = (float(word) for word in words)
        except ValueError:
            place = []
        if len(place) != 3:
            raise InputError(
                f"line {number} is not 'charge x y z'",
                file=str(path),
                field="point_charges",
                remedy="write four numbers: the charge in e and where it is",
            )
        rows.append((charge, *(x * LENGTH_UNITS[unit] for x in place)))
    if not rows:
        raise InputError("there is no charge in it", file=str(path), field="point_charges")
    return Surroundings(point_charges=tuple(rows))  # type: ignore[arg-type]


def _known(solvent: Any) -> str:
    from pyscf.solvent.smd import solvent_db

    name = str(solvent).strip().lower()
    if name not in solvent_db:
        near = difflib.get_close_matches(name, solvent_db, 3, 0.5)
        raise InputError(
            f"there is no solvent {str(solvent)[:40]!r}",
            field="solvent",
            remedy=f"did you mean {', '.join(near)}"
            if near
            else "use a name of SMD's, such as water, toluene",
        )
    return name


def _numbers(rows: Iterable[Any]) -> tuple[tuple[float, float, float, float], ...]:
    try:
        table = np.array([[float(x) for x in row] for row in rows]).reshape(-1, 4)
    except (TypeError, ValueError):
        table = np.full((1, 4), np.nan)
    if not np.isfinite(table).all():
        raise InputError(
            "point charges are rows of four numbers",
            field="point_charges",
            remedy="write (charge, x, y, z) for each, in e and Bohr",
        )
    return tuple((q, x, y, z) for q, x, y, z in table.tolist())
