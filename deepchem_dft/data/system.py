"""One system of an entry: geometry, basis, charge and spin, checked but without any integrals."""

from __future__ import annotations

import copy
import json
import math
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from deepchem_dft.data.fields import Fields, inside, number, show, tidy
from deepchem_dft.errors import InputError
from deepchem_dft.molecule.basis import has_diffuse, resolve_basis, resolve_ecp
from deepchem_dft.molecule.electrons import treatment
from deepchem_dft.molecule.geometry import (
    NUCLEAR_CHARGE,
    as_said,
    composition,
    format_geometry,
    names_a_file,
    parse_geometry,
    read_geometry,
)

if TYPE_CHECKING:
    from deepchem_dft.molecule.molecule import Molecule

#: Electrons of one spin that fill shells of an atom completely: a round density.
_ROUND = frozenset((0, 1, 2, 5, 6, 9, 10, 14, 15, 18, 19, 23, 24, 27, 28, 34, 35, 39, 40, 43, 44))
#: Those of them that are (n-1)d5 or 4f7 without ns, as in Mn2+. As the majority spin of a neutral
#: atom they are (n-1)d4 ns1 or 4f6 6s1 instead (Nb, Sm, W).
_WITHOUT_S = frozenset((14, 23, 34, 39))

#: Keys of a system mapping.
SYSTEM_KEYS = (
    "moldesc",
    "geometry",
    "unit",
    "basis",
    "spin",
    "charge",
    "number",
    "n_alpha",
    "n_beta",
    "occupations",
    "restricted",
    "broken_symmetry",
    "ecp",
    "name",
)


@lru_cache(maxsize=4096)
def _atom_size(symbol: str, basis: str, ecp: str) -> tuple[int, int]:
    """Return core electrons and orbitals of an element; raises `InputError` for a bad basis."""
    spec, core = json.loads(basis), json.loads(ecp)
    orbitals = 0
    for shell in resolve_basis([symbol], spec)[symbol]:
        rows = [row for row in shell[1:] if isinstance(row, (list, tuple))]
        orbitals += (2 * shell[0] + 1) * (len(rows[0]) - 1 if rows else 0)
    cores = resolve_ecp([symbol], spec, core)
    return (int(cores[symbol][0]) if symbol in cores else 0), orbitals


@lru_cache(maxsize=1024)
def _diffuse(symbols: tuple[str, ...], basis: str) -> bool:
    return has_diffuse(symbols, json.loads(basis))


class DFTSystem:
    """A molecule, atom or ion that takes part in an entry.

    Parameters
    ----------
    system : mapping
        ``moldesc`` (or ``geometry``): ``"O 0 0 0; H 0 0 1.8"``, or the lines of an xyz file, whose
        charge and multiplicity count unless given here; ``unit``: bohr (default) or angstrom (that
        of xyz lines); ``basis``: a name, or a name per element; ``spin``: 2S = n_alpha - n_beta;
        ``charge``; ``number``: how often it occurs (default 1); ``n_alpha``, ``n_beta``: electron
        numbers, perhaps fractional, in place of charge and spin; ``occupations``: ``alpha`` and
        ``beta`` lists of electrons (0 to 1) in the lowest orbitals, in place of both;
        ``restricted``: whether both spins share their orbitals; ``broken_symmetry``: true, or 2S_z
        of each atom; ``ecp``; ``name``. Quoted numbers are fine.

    Attributes
    ----------
    moldesc : str
        Canonical geometry in Bohr.
    basis : str or dict
    charge, spin : int or float
        Fractional if the electron numbers are.
    no : int or float
        The ``number``.
    nelec : (float, float) or None
        Electrons of each spin if they do not follow from an integer charge and spin.
    occupations : (tuple of float, tuple of float) or None
        Explicit occupations of the lowest alpha and beta orbitals.
    restricted : bool or None
    broken_symmetry : bool or tuple of float
        As in `Molecule`.
    ecp : str, dict or None
    name : str
        The formula unless given.
    symbols : tuple of str
    electrons : (float, float)
        Electrons of each spin outside effective cores, always set.

    Raises
    ------
    InputError
        Naming the field: geometry, basis, charge, spin (parity, more unpaired electrons than
        there are), misspelt keys.

    Examples
    --------
    >>> ion = DFTSystem({"moldesc": "N 0 0 0", "basis": "def2-svp", "charge": "1", "spin": "2"})
    >>> ion.name, ion.spin, ion.electrons
    ('N+', 2, (4.0, 2.0))
    """

    def __init__(self, system: Mapping[str, Any]) -> None:
        fields = Fields(system, SYSTEM_KEYS, "a system")
        self._read_geometry(fields)
        self.basis = _spec(fields.require("basis", "name a basis such as def2-tzvp"), "basis")
        self.ecp = _spec(fields.get("ecp"), "ecp") if "ecp" in fields else None
        self.no = tidy(fields.number("number", 1))
        if not 0 < self.no <= 10_000:
            raise InputError(
                f"number {self.no} is not possible",
                field="number",
                remedy="count how often the system occurs: 1, 2, ...",
            )
        self._read_electrons(fields)
        self._read_treatment(fields)
        self.name = fields.text("name") or formula_as_written(self.symbols, self.charge)

    def _read_geometry(self, fields: Fields) -> None:
        given = [key for key in ("moldesc", "geometry") if key in fields]
        if len(given) != 1:
            raise InputError(
                "the geometry is missing"
                if not given
                else "geometry is given twice, as moldesc and as geometry",
                field="moldesc" if not given else "geometry",
                remedy="write the atoms once, as 'O 0 0 0; H 0 0 1.8'",
            )
        text = fields.get(given[0])
        if names_a_file(text):
            raise InputError(
                f"{str(text)[:60]!r} is the name of a file, but data files hold their geometries themselves",
                field=given[0],
                remedy="write 'geometry: |' and below it, indented, the lines of the xyz file",
            )
        try:
            found = read_geometry(text, fields.get("unit"))
        except InputError as error:
            raise InputError(
                error.problem,
                remedy=error.remedy,
                field=given[0] if error.field == "geometry" else error.field,
            ) from None
        self.symbols = tuple(found.symbols)
        self.moldesc = format_geometry(found.symbols, found.positions)
        self._said = found.charge, found.spin

    def _read_electrons(self, fields: Fields) -> None:
        basis, ecp = self._basis_key, self._ecp_key
        lightest_first = sorted(set(self.symbols), key=NUCLEAR_CHARGE.__getitem__)
        sizes = {symbol: _atom_size(symbol, basis, ecp) for symbol in lightest_first}
        protons = sum(NUCLEAR_CHARGE[s] - sizes[s][0] for s in self.symbols)
        orbitals = sum(sizes[s][1] for s in self.symbols)
        self.nelec: tuple[float, float] | None = None
        self.occupations = self._occupations(fields)
        if self.occupations is not None:
            self.electrons = (sum(self.occupations[0]), sum(self.occupations[1]))
            self._check_implied(fields, protons, "occupations")
            self.charge = tidy(round(protons - sum(self.electrons), 12))
            self.spin = tidy(round(self.electrons[0] - self.electrons[1], 12))
            self.nelec = self.electrons
            as_said("charge", self.charge, self._said[0])
        elif "n_alpha" in fields or "n_beta" in fields:
            self.electrons = self._counted(fields, protons)
            self.charge = tidy(round(protons - sum(self.electrons), 12))
            self.spin = tidy(round(self.electrons[0] - self.electrons[1], 12))
            self.nelec = self.electrons
            as_said("charge", self.charge, self._said[0])
        else:
            charge, spin = ((fields.number(key, 0) if key in fields else None) for key in ("charge", "spin"))
            self.charge = tidy(as_said("charge", charge, self._said[0]))
            self.spin = tidy(as_said("spin", spin, self._said[1]))
            self.electrons = self._from_charge_and_spin(protons)
            if not (isinstance(self.charge, int) and isinstance(self.spin, int)):
                self.nelec = self.electrons
        if max(self.electrons) > orbitals or max(map(len, self.occupations or ((),))) > orbitals:
            raise InputError(
                f"{max(self.electrons):g} electrons of one spin do not fit into {orbitals} orbitals",
                field="basis",
                remedy="use a larger basis, or correct the charge",
            )

    def _read_treatment(self, fields: Fields) -> None:
        spins = fields.get("broken_symmetry", False)
        if isinstance(spins, (list, tuple)):
            spins = [number(s, "broken_symmetry") for s in spins]
        self.restricted, self.broken_symmetry = treatment(
            fields.get("restricted"), spins, len(self.symbols), self.spin
        )
        if self.restricted and self.electrons[0] != self.electrons[1]:
            raise InputError(
                f"{self.spin:g} unpaired electrons cannot be run restricted",
                field="restricted",
                remedy="leave it out, or correct the spin",
            )

    def _counted(self, fields: Fields, protons: int) -> tuple[float, float]:
        if not ("n_alpha" in fields and "n_beta" in fields):
            missing = "n_beta" if "n_alpha" in fields else "n_alpha"
            raise InputError(
                f"{missing} is missing",
                field=missing,
                remedy="give both n_alpha and n_beta, or charge and spin",
            )
        alpha, beta = fields.number("n_alpha", 0), fields.number("n_beta", 0)
        for key, value in (("n_alpha", alpha), ("n_beta", beta)):
            if value < 0:
                raise InputError(
                    f"{value:g} electrons are not possible",
                    field=key,
                    remedy="give a number that is not negative",
                )
        if alpha + beta == 0:
            raise InputError(
                "the system has no electrons",
                field="n_alpha",
                remedy="leave bare nuclei out; their energy is zero (a reaction may name them: H+)",
            )
        self.electrons = (alpha, beta)
        self._check_implied(fields, protons, "n_alpha and n_beta")
        return (alpha, beta)

    def _check_implied(self, fields: Fields, protons: int, source: str) -> None:
        """Charge and spin may be repeated beside what implies them, not contradicted."""
        alpha, beta = self.electrons
        for key, value in (("charge", protons - alpha - beta), ("spin", alpha - beta)):
            if key in fields and abs(fields.number(key, 0) - value) > 1e-9:
                raise InputError(
                    f"{key} {fields.get(key)} contradicts {source}, which give {value:g}",
                    field=key,
                    remedy=f"remove {key}, or {source}",
                )

    @staticmethod
    def _occupations(fields: Fields) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        if "occupations" not in fields:
            return None
        remedy = "write occupations: {alpha: [1, 1, 0.5], beta: [1]}, each from 0 to 1"
        for key in ("n_alpha", "n_beta"):
            if key in fields:
                raise InputError(
                    f"{key} and occupations are both given",
                    field=key,
                    remedy=f"remove {key}: the occupations imply it",
                )
        given = fields.get("occupations")
        if not isinstance(given, Mapping) or set(given) != {"alpha", "beta"}:
            raise InputError(
                f"{show(given)} is not a pair of occupation lists", field="occupations", remedy=remedy
            )
        rows = []
        for spin in ("alpha", "beta"):
            row = given[spin]
            numbers = (
                [n for n in row if isinstance(n, (int, float)) and not isinstance(n, bool) and 0 <= n <= 1]
                if isinstance(row, (list, tuple))
                else None
            )
            if numbers is None or len(numbers) != len(row):
                raise InputError(
                    f"{show(row)} is not a list of occupations", field=f"occupations.{spin}", remedy=remedy
                )
            rows.append(tuple(float(n) for n in numbers))
        if sum(map(sum, rows)) == 0:
            raise InputError("the system has no electrons", field="occupations", remedy=remedy)
        return rows[0], rows[1]

    def _from_charge_and_spin(self, protons: int) -> tuple[float, float]:
        label = formula_as_written(self.symbols, 0)
        total = protons - self.charge
        if self.charge > protons:
            raise InputError(
                f"charge {self.charge:+g} is larger than the nuclear charge {protons} of {label}",
                field="charge",
                remedy=f"use a charge below {protons:+d}",
            )
        if total == 0:
            raise InputError(
                f"{label} with charge {self.charge:+g} has no electrons",
                field="charge",
                remedy="leave bare nuclei out; their energy is zero (a reaction may name them: H+)",
            )
        if self.spin < 0:
            raise InputError(
                f"spin {self.spin:g} is negative",
                field="spin",
                remedy="spin is 2S = n_alpha - n_beta, the number of unpaired electrons",
            )
        if self.spin > total:
            raise InputError(
                f"spin {self.spin:g} needs more unpaired electrons than the "
                f"{total:g} that {label} with charge {self.charge:+g} has",
                field="spin",
                remedy="spin is 2S, the number of unpaired electrons",
            )
        whole = isinstance(self.charge, int) and isinstance(self.spin, int)
        if whole and (total + self.spin) % 2:
            kind, examples = ("odd", "1, 3") if total % 2 else ("even", "0, 2")
            raise InputError(
                f"{total} electrons ({label}, charge {self.charge:+d}) cannot have spin {self.spin}",
                field="spin",
                remedy=f"spin is 2S, the number of unpaired electrons: {kind} here ({examples}, ...)",
            )
        return ((total + self.spin) / 2, (total - self.spin) / 2)

    # -- identity -----------------------------------------------------------------------------

    @property
    def _basis_key(self) -> str:
        return json.dumps(self.basis, sort_keys=True)

    @property
    def _ecp_key(self) -> str:
        return json.dumps(self.ecp, sort_keys=True)

    @property
    def key(self) -> tuple:
        """Hashable identity of the calculation: systems that share it share their energy."""
        key = (self.moldesc, self._basis_key.lower(), self._ecp_key.lower(), self.electrons, self.occupations)
        return key if self.restricted is None else (*key, self.restricted, self.broken_symmetry)

    @property
    def system(self) -> dict[str, Any]:
        """The system as a mapping in DeepChem's layout (Bohr)."""
        out: dict[str, Any] = {
            "moldesc": self.moldesc,
            "basis": self.basis,
            "spin": self.spin,
            "charge": self.charge,
            "number": self.no,
            "name": self.name,
        }
        if self.ecp is not None:
            out["ecp"] = self.ecp
        if self.broken_symmetry:
            spins = self.broken_symmetry
            out["broken_symmetry"] = list(spins) if isinstance(spins, tuple) else True
        elif self.restricted is not None:
            out["restricted"] = self.restricted
        if self.nelec is not None:
            del out["spin"], out["charge"]
        if self.occupations is not None:
            out["occupations"] = {"alpha": list(self.occupations[0]), "beta": list(self.occupations[1])}
        elif self.nelec is not None:
            out["n_alpha"], out["n_beta"] = self.nelec
        return out

    @property
    def positions(self) -> np.ndarray:
        """Positions of the nuclei, shape (n_atoms, 3), Bohr."""
        return parse_geometry(self.moldesc)[1]

    @property
    def composition(self) -> Counter[str]:
        """Number of atoms of each element."""
        return composition(self.symbols)

    @property
    def lacks_diffuse(self) -> bool:
        """Whether this is an anion in a basis without diffuse functions."""
        return self.charge < 0 and not _diffuse(tuple(sorted(set(self.symbols))), self._basis_key)

    @property
    def has_open_shell_to_turn(self) -> bool:
        """Whether this is an atom with a partly filled p, d or f shell, which has a direction.

        Examples
        --------
        >>> [DFTSystem({"moldesc": f"{a} 0 0 0", "basis": "6-31g", "spin": s}
        ...            ).has_open_shell_to_turn for a, s in (("N", 3), ("O", 2), ("Li", 1))]
        [False, True, False]
        """
        if len(self.symbols) != 1:
            return False
        core = NUCLEAR_CHARGE[self.symbols[0]] - self.charge - sum(self.electrons)
        counts = [n + core / 2 for n in self.electrons]
        if self.charge <= 0 and counts[0] != counts[1] and max(counts) in _WITHOUT_S:
            return True
        # Between two closed shells that differ by one electron, an s shell is being filled.
        return not all({math.floor(n + 1e-9), math.ceil(n - 1e-9)} <= _ROUND for n in counts)

    def with_number(self, number: float) -> DFTSystem:
        """Return a copy that occurs ``number`` times."""
        other = copy.copy(self)
        other.no = tidy(number)
        return other

    def to_molecule(self, grid_level: int = 3, density_fit: bool | str | dict | None = None) -> Molecule:
        """Return the `Molecule` with its (cached) integrals and a PySCF grid of this level.

        Parameters
        ----------
        grid_level : int
        density_fit : None, bool, str or dict
            As in `Molecule`: None fits large molecules.
        """
        from deepchem_dft.molecule.molecule import Molecule

        whole = self.nelec is None
        return Molecule(
            self.moldesc,
            basis=self.basis,
            charge=int(self.charge) if whole else 0,
            spin=int(self.spin) if whole else 0,
            grid_level=grid_level,
            nelec=self.nelec,
            occupations=self.occupations,
            ecp=self.ecp,
            density_fit=density_fit,
            name=self.name,
            restricted=None if self.broken_symmetry else self.restricted,
            broken_symmetry=self.broken_symmetry,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DFTSystem):
            return NotImplemented
        return (self.key, self.no, self.name) == (other.key, other.no, other.name)

    def __hash__(self) -> int:
        return hash((self.key, self.no, self.name))

    def __repr__(self) -> str:
        return (
            f"DFTSystem({self.name}, basis={show(self.basis)}, charge={self.charge:+g}, "
            f"spin={self.spin:g}, number={self.no:g})"
        )


def _spec(value: Any, field: str) -> str | dict[str, str]:
    """Check a basis or ECP given as a name or as names per element."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, Mapping) and value:
        for key, name in value.items():
            if not isinstance(key, str) or not isinstance(name, str):
                raise inside(
                    InputError(
                        f"{show(name)} is not the name of a {field}",
                        remedy="map element symbols (or default) to names",
                    ),
                    f"{field}.{show(key)}",
                )
        return {key: value[key].strip() for key in sorted(value)}
    raise InputError(
        f"{show(value)} is not the name of a {field}",
        field=field,
        remedy="write a name such as def2-tzvp, or a name per element",
    )


def formula_as_written(symbols: tuple[str, ...] | list[str], charge: float = 0) -> str:
    """Write a formula with the elements in the order they first appear.

    Examples
    --------
    >>> formula_as_written(["Li", "H"]), formula_as_written(("O", "H"), -1)
    ('LiH', 'OH-')
    """
    text = "".join(s + (str(n) if n > 1 else "") for s, n in Counter(symbols).items())
    if charge:
        size = "" if abs(charge) == 1 else f"{abs(charge):g}"
        text += f"{size}{'+' if charge > 0 else '-'}"
    return text
