"""Equations of one's own molecules: text in, species and their stoichiometry out, balanced."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deepchem_dft.errors import InputError
from deepchem_dft.molecule.elements import NUCLEAR_CHARGE, SYMBOLS
from deepchem_dft.molecule.geometry import format_geometry, formula, read_geometry
from deepchem_dft.molecule.reading import is_file_name, xyz
from deepchem_dft.units import BOHR_TO_ANGSTROM

if TYPE_CHECKING:
    from deepchem_dft.data import DFTSystem

_ARROW = re.compile(r"\s+(?:->|=>|=|\u2192)\s+")
_PLUS = re.compile(r"\s+\+\s+")
_NUMBER = r"\d+(?:\.\d+)?|\.\d+|\d+/\d+"
_COUNTED = re.compile(rf"({_NUMBER})(?:\s*\*\s*|\s+)(\S.*)")
_EXAMPLE = "write it as 'water.xyz -> oh.xyz + h.xyz', or '2 h2.xyz + o2.xyz -> 2 water.xyz'"
#: Neutral atoms and their isoelectronic ions have the same ground-state spin up to this nuclear charge.
_LIGHT = 20


@dataclass(frozen=True)
class Term:
    """One species of one side of a reaction.

    Attributes
    ----------
    count : float
        How often it occurs.
    name : str
        As written: a file, a SMILES, or a bare particle.
    system : DFTSystem or None
        None for electrons (``e-``) and bare nuclei (``H+``), whose energy is zero.
    assumed : bool
        Whether nothing says what its spin is.
    made : bool
        Whether RDKit made its geometry.
    """

    count: float
    name: str
    system: "DFTSystem | None"
    assumed: bool = False
    made: bool = False


@dataclass(frozen=True)
class Reaction:
    """A balanced reaction.

    Attributes
    ----------
    text : str
        As written.
    left, right : list of Term
    """

    text: str
    left: list[Term]
    right: list[Term]

    @property
    def terms(self) -> list[tuple[float, Term]]:
        """All species with their coefficients: negative on the left."""
        return [(-t.count, t) for t in self.left] + [(t.count, t) for t in self.right]

    @property
    def formulas(self) -> str:
        """The reaction in sum formulas.

        Examples
        --------
        >>> Reaction("H+ + e-", [Term(1, "H+", None), Term(2, "e-", None)], [Term(1, "e-", None)]).formulas
        'H+ + 2 e- -> e-'
        """
        sides = (" + ".join(map(counted, side)) for side in (self.left, self.right))
        return " -> ".join(sides)


def parse_equation(text: str) -> tuple[list[tuple[float, str]], list[tuple[float, str]]]:
    """Split an equation into counted names.

    Parameters
    ----------
    text : str
        Sides with ``->`` (or ``=``) between them, species with ``+``, all with spaces around; a number
        before a name counts it.

    Raises
    ------
    InputError
        If it is no equation.

    Examples
    --------
    >>> parse_equation("2 h2.xyz + 1/2*o2.xyz -> C#N")
    ([(2.0, 'h2.xyz'), (0.5, 'o2.xyz')], [(1.0, 'C#N')])
    """
    sides = _ARROW.split(text.strip())
    if len(sides) != 2 or not all(sides):
        problem = "there is no arrow" if len(sides) < 2 else "there is more than one arrow, or an empty side"
        raise InputError(f"{text[:120]!r} is no reaction: {problem}", field="reaction", remedy=_EXAMPLE)
    left, right = ([_counted_name(part) for part in _PLUS.split(side)] for side in sides)
    return left, right


def _counted_name(text: str) -> tuple[float, str]:
    found = _COUNTED.fullmatch(text.strip())
    if found is None or os.path.isfile(text.strip()):
        return 1.0, text.strip()
    above, _, below = found[1].partition("/")
    count = float(above) / float(below or 1) if float(below or 1) else 0.0
    if not 0 < count <= 10_000:
        raise InputError(
            f"{found[1]} {found[2][:60]} is not possible", field="reaction", remedy="count with 1, 2, 1/2 ..."
        )
    return count, found[2]


def read_reaction(
    text: str,
    basis: str = "def2-tzvp",
    *,
    charges: Mapping[str, int] | None = None,
    spins: Mapping[str, int] | None = None,
    unit: str | None = None,
) -> Reaction:
    """Read a reaction and its species, and check that it is balanced.

    Parameters
    ----------
    text : str
        See :func:`parse_equation`. Species are geometry files, SMILES (a geometry is made by RDKit), or
        ``e-``, ``H+`` and other bare nuclei.
    basis : str
        Of all species.
    charges, spins : mapping, optional
        Charge and 2S by the name in the equation. Default: those of the file or of the SMILES; then 0,
        and for the spin the ground state of atoms, 0 or 1 otherwise.
    unit : str, optional
        Of the files: angstrom (default) or bohr.

    Returns
    -------
    Reaction

    Raises
    ------
    InputError
        For what cannot be read, names of ``charges`` and ``spins`` that are not in the equation, and
        reactions whose atoms or charges do not add up.
    """
    sides = parse_equation(text)
    names = list(dict.fromkeys(name for side in sides for _, name in side))
    charges, spins = dict(charges or {}), dict(spins or {})
    for option, given in (("charge", charges), ("spin", spins)):
        if unknown := [name for name in given if name not in names]:
            raise InputError(
                f"{unknown[0]!r} is not in the reaction", field=option, remedy=f"one of {', '.join(names)}"
            )
    known = {name: _species(name, basis, charges.get(name), spins.get(name), unit) for name in names}
    left, right = ([replace(known[name], count=count) for count, name in side] for side in sides)
    reaction = Reaction(text.strip(), left, right)
    _check_balance(reaction)
    return reaction


def atomisation(
    name: str,
    basis: str = "def2-tzvp",
    *,
    charge: int | None = None,
    spin: int | None = None,
    unit: str | None = None,
) -> Reaction:
    """Return the reaction of a molecule falling apart into its atoms in their ground states.

    Parameters
    ----------
    name : str
        A geometry file or a SMILES.
    basis, charge, spin, unit
        As in :func:`read_reaction`.

    Raises
    ------
    InputError
        For ions, and elements beyond Kr.
    """
    from deepchem_dft.data.stoichiometry import ground_state_atoms

    molecule = _species(name, basis, charge, spin, unit)
    if molecule.system is None:
        raise InputError(f"{name!r} has no atoms", field="geometry", remedy="give an xyz file or a SMILES")
    try:
        atoms = ground_state_atoms(molecule.system)
    except InputError as error:
        raise InputError(
            error.problem, file=name, remedy="write the reaction out: deepchem-dft reaction"
        ) from None
    right = [Term(float(atom.no), atom.name, atom.with_number(1)) for atom in atoms]
    return Reaction(f"{name} -> " + " + ".join(map(counted, right)), [molecule], right)


def _species(name: str, basis: str, charge: int | None, spin: int | None, unit: str | None) -> Term:
    from deepchem_dft.data.stoichiometry import bare_particle
    from deepchem_dft.data.system import DFTSystem

    if bare_particle(name) is not None and not os.path.isfile(name):
        return Term(1.0, name, None)
    made = not (is_file_name(name) or os.path.isfile(name))
    found = _from_smiles(name) if made else read_geometry(name, unit)
    charge = (found.charge or 0) if charge is None else charge
    said = found.spin if spin is None else spin
    try:
        system = DFTSystem(
            {
                "moldesc": format_geometry(found.symbols, found.positions),
                "basis": basis,
                "charge": charge,
                "spin": _lowest_spin(found.symbols, charge) if said is None else said,
                "name": name,
            }
        )
    except InputError as error:
        raise error.located(**{"entry" if made else "file": name}) from None
    return Term(1.0, name, system, said is None, made)


def _from_smiles(name: str) -> xyz.XYZGeometry:
    from deepchem_dft.data.properties.conformers import from_smiles

    try:
        found = from_smiles(name)
    except InputError as error:
        raise InputError(
            f"there is no file {name[:80]!r}, and no molecule could be made of it as a SMILES "
            f"({error.problem})",
            field="geometry",
            remedy=error.remedy or "give an xyz file (end its name with .xyz), a SMILES, e- or H+",
        ) from None
    return replace(found, positions=found.positions / BOHR_TO_ANGSTROM)


def _lowest_spin(symbols: Sequence[str], charge: int) -> int:
    """Return the spin (2S) that is assumed where none is said: of atoms that of the ground state."""
    from deepchem_dft.data.stoichiometry import GROUND_STATE_SPIN

    electrons = sum(NUCLEAR_CHARGE[s] for s in symbols) - charge
    if len(symbols) > 1:
        return electrons % 2
    nucleus = NUCLEAR_CHARGE[symbols[0]]
    if charge and not (0 < electrons <= _LIGHT and nucleus <= _LIGHT):
        raise InputError(
            f"the spin of {formula(symbols, charge)} is not said",
            field="spin",
            remedy="write mult= (2S+1) into the comment line, or use --multiplicity NAME=2S+1",
        )
    like = SYMBOLS[electrons] if 0 < electrons < len(SYMBOLS) else symbols[0]
    return GROUND_STATE_SPIN.get(like, electrons % 2)


def _check_balance(reaction: Reaction) -> None:
    from deepchem_dft.data.stoichiometry import bare_particle

    sums: list[dict[str, float]] = [{}, {}]
    for side, terms in zip(sums, (reaction.left, reaction.right)):
        side["charge"] = 0.0
        for term in terms:
            if term.system is None:
                nucleus, charge = bare_particle(term.name) or (None, 0)
                counts: dict[str, float] = {} if nucleus is None else {nucleus: 1.0}
            else:
                counts, charge = dict(term.system.composition), int(term.system.charge)
            side["charge"] += term.count * charge
            for symbol, number in counts.items():
                side[symbol] = side.get(symbol, 0.0) + term.count * number
    left, right = sums
    wrong = [
        f"{what} {left.get(what, 0):g} on the left, {right.get(what, 0):g} on the right"
        for what in sorted({**left, **right}, key=lambda w: (w == "charge", w))
        if abs(left.get(what, 0.0) - right.get(what, 0.0)) > 1e-6
    ]
    if wrong:
        raise InputError(
            f"the reaction is not balanced: {'; '.join(wrong)} ({reaction.formulas})",
            field="reaction",
            remedy="correct a number, a file or a charge, or add what is missing (e- and H+ can be set free)",
        )


def counted(term: Term) -> str:
    """Write a species as its sum formula, its number before it unless that is 1."""
    name = term.name if term.system is None else formula(term.system.symbols, float(term.system.charge))
    return name if term.count == 1 else f"{term.count:g} {name}"
