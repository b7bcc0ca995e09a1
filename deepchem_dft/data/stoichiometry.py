"""How the energies of an entry combine: roles from position, charges or stoichiometry; balance."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from deepchem_dft.data.constraints import CONSTRAINT_TYPES, constraint_coefficients
from deepchem_dft.data.fields import number
from deepchem_dft.data.system import DFTSystem
from deepchem_dft.errors import InputError
from deepchem_dft.molecule.geometry import NUCLEAR_CHARGE, SYMBOLS, formula

#: Unpaired electrons (2S) of the neutral atoms H to Kr in their ground states (NIST).
GROUND_STATE_SPIN = dict(zip(SYMBOLS[1:], map(int, "101012321010123210101236543210123210")))

_TOLERANCE = 1e-6
_NUCLEUS = re.compile(r"([A-Z][a-z]?)([1-9]\d?)?\+")
_NOTHING: Mapping[str, float] = MappingProxyType({})


def bare_particle(name: str) -> tuple[str | None, int] | None:
    """Return element and charge of an electron or bare nucleus, whose energy is zero; None for all else.

    Examples
    --------
    >>> bare_particle("e-"), bare_particle("H+"), bare_particle("He2+"), bare_particle("He+")
    ((None, -1), ('H', 1), ('He', 2), None)
    """
    if name == "e-":
        return None, -1
    found = _NUCLEUS.fullmatch(name)
    if found is None or NUCLEAR_CHARGE.get(found[1]) != int(found[2] or 1):
        return None
    return found[1], int(found[2] or 1)


def positional_coefficients(systems: Sequence[DFTSystem]) -> list[float]:
    """Return DeepChem's coefficients: the others, each times its number, minus the first.

    Examples
    --------
    >>> h2 = DFTSystem({"moldesc": "H 0 0 0; H 0 0 1.4", "basis": "sto-3g"})
    >>> h = DFTSystem({"moldesc": "H 0 0 0", "basis": "sto-3g", "spin": 1, "number": 2})
    >>> positional_coefficients([h2, h])
    [-1.0, 2.0]
    """
    return [float(-s.no if i == 0 else s.no) for i, s in enumerate(systems)]


def check_balance(
    systems: Sequence[DFTSystem],
    coefficients: Sequence[float],
    *,
    charges: bool = True,
    field: str = "systems",
    bare: Mapping[str, float] = _NOTHING,
) -> None:
    """Raise `InputError` unless atoms (and charges) on both sides are equal.

    ``bare`` are factors of electrons (``e-``) and bare nuclei (``H+``, ``He2+``), which count like systems.
    """
    surplus: dict[str, float] = {}
    charge = 0.0
    for system, coefficient in zip(systems, coefficients, strict=True):
        for symbol, count in system.composition.items():
            surplus[symbol] = surplus.get(symbol, 0.0) + coefficient * count
        charge += coefficient * system.charge
    for name, coefficient in bare.items():
        particle = bare_particle(name)
        if particle is None:
            raise InputError(
                f"{name[:60]!r} is no bare particle",
                field=field,
                remedy="write e- for an electron, H+ for a proton, He2+ for an alpha particle",
            )
        nucleus, its_charge = particle
        charge += coefficient * its_charge
        if nucleus is not None:
            surplus[nucleus] = surplus.get(nucleus, 0.0) + coefficient
    text = reaction_text(systems, coefficients, bare)
    wrong = {symbol: n for symbol, n in surplus.items() if abs(n) > _TOLERANCE}
    if wrong:
        parts = [
            f"{abs(n):g} {symbol} {'too many' if n > 0 else 'missing'}" for symbol, n in sorted(wrong.items())
        ]
        raise InputError(
            f"the reaction is not balanced: {', '.join(parts)} among the systems that count "
            f"positive ({text})",
            field=field,
            remedy="correct the number or coefficient of a system, or add the missing one",
        )
    if charges and abs(charge) > _TOLERANCE:
        raise InputError(
            f"the charges are not balanced: they add up to {charge:+g} ({text})",
            field=field,
            remedy="correct a charge, or add the missing ion; in a reaction, 'e-: 1' is an electron set "
            "free, and 'H+: 1' a proton",
        )


def reaction_text(
    systems: Sequence[DFTSystem], coefficients: Sequence[float], bare: Mapping[str, float] = _NOTHING
) -> str:
    """Write the combination of energies, e.g. ``2 E(H) - E(H2)``; bare particles without an E."""
    parts = [(f"E({formula(s.symbols, s.charge)})", c) for s, c in zip(systems, coefficients, strict=True)]
    text = ""
    for name, c in (*parts, *bare.items()):
        size = "" if abs(c) == 1 else f"{abs(c):g} "
        sign = (" - " if c < 0 else " + ") if text else ("-" if c < 0 else "")
        text += f"{sign}{size}{name}"
    return text


def coefficients_by_role(e_type: str, systems: Sequence[DFTSystem]) -> list[float]:
    """Find the roles of the systems from stoichiometry and charges, whatever their order.

    Parameters
    ----------
    e_type : {"energy", "ae", "ie", "ea"}
    systems : sequence of DFTSystem

    Returns
    -------
    list of float
        One coefficient per system, its number included.

    Raises
    ------
    InputError
        If the systems do not fit the type, or do not balance.

    Examples
    --------
    >>> h2 = DFTSystem({"moldesc": "H 0 0 0; H 0 0 1.4", "basis": "sto-3g"})
    >>> h = DFTSystem({"moldesc": "H 0 0 0", "basis": "sto-3g", "spin": 1, "number": 2})
    >>> coefficients_by_role("ae", [h, h2])
    [2.0, -1.0]
    """
    if e_type == "energy":
        if len(systems) != 1 or systems[0].no != 1:
            raise InputError(
                "an energy entry needs exactly one system",
                field="systems",
                remedy="use type: reaction to combine several",
            )
        return [1.0]
    return _atomisation(systems) if e_type == "ae" else _charge_change(e_type, systems)


def _atomisation(systems: Sequence[DFTSystem]) -> list[float]:
    molecules = [i for i, s in enumerate(systems) if len(s.symbols) > 1]
    if len(molecules) != 1 or len(systems) < 2:
        raise InputError(
            "an atomisation energy needs one molecule and its atoms; found "
            f"{len(molecules)} molecules and {len(systems) - len(molecules)} atoms",
            field="systems",
            remedy="list the molecule and its atoms, write 'molecule: NAME' with "
            "'atoms: auto', or use type: reaction",
        )
    coefficients = [float(-s.no if i == molecules[0] else s.no) for i, s in enumerate(systems)]
    check_balance(systems, coefficients)
    return coefficients


def _charge_change(e_type: str, systems: Sequence[DFTSystem]) -> list[float]:
    what = "an ionisation energy" if e_type == "ie" else "an electron affinity"
    names = ("neutral", "cation") if e_type == "ie" else ("neutral", "anion")
    for i, system in enumerate(systems):
        if system.no != 1:
            raise InputError(
                f"{what} cannot count a system {system.no:g} times",
                field=f"systems[{i}].number",
                remedy="remove number",
            )
    if e_type == "ie" and len(systems) == 1 and sum(systems[0].electrons) == 1:
        return [-1.0]  # taking away the only electron leaves a bare nucleus, of energy zero
    if len(systems) != 2:
        raise InputError(
            f"{what} needs two systems, found {len(systems)}",
            field="systems",
            remedy=f"list the {names[0]} and the {names[1]}",
        )
    check_balance(systems, [1.0, -1.0], charges=False)
    high, low = (0, 1) if systems[0].charge > systems[1].charge else (1, 0)
    upper, lower = systems[high].charge, systems[low].charge
    if abs(upper - lower - 1) > _TOLERANCE:
        raise InputError(
            f"{what} needs charges that differ by one, found {lower:+g} and {upper:+g}",
            field="systems",
            remedy=f"give the {names[1]} a charge of {'+1' if e_type == 'ie' else '-1'}",
        )
    if (e_type == "ie" and lower < 0) or (e_type == "ea" and upper > 0):
        other = "ea" if e_type == "ie" else "ie"
        raise InputError(
            f"charges {lower:+g} and {upper:+g} are not those of {what}",
            field="systems",
            remedy=f"use type: {other}, or correct the charges",
        )
    coefficients = [0.0, 0.0]
    coefficients[high], coefficients[low] = 1.0, -1.0
    return coefficients


def ground_state_atoms(molecule: DFTSystem) -> list[DFTSystem]:
    """Return the atoms of a neutral molecule in their ground states, in the same basis.

    Raises
    ------
    InputError
        For ions, and for elements beyond Kr.

    Examples
    --------
    >>> water = DFTSystem({"moldesc": "O 0 0 0; H 0 1.4 1; H 0 -1.4 1", "basis": "sto-3g"})
    >>> [(atom.name, atom.spin, atom.no) for atom in ground_state_atoms(water)]
    [('O', 2, 1), ('H', 1, 2)]
    """
    if molecule.charge != 0:
        raise InputError(
            f"the atoms of an ion ({molecule.name}) cannot be chosen automatically",
            field="atoms",
            remedy="list the atoms and ions it falls apart into",
        )
    atoms = []
    for symbol, count in molecule.composition.items():
        if symbol not in GROUND_STATE_SPIN:
            raise InputError(
                f"the ground state of {symbol} is not tabulated",
                field="atoms",
                remedy="list the atoms with their spins",
            )
        atom = {
            "moldesc": f"{symbol} 0 0 0",
            "basis": molecule.basis,
            "ecp": molecule.ecp,
            "spin": GROUND_STATE_SPIN[symbol],
            "number": molecule.no * count,
        }
        atoms.append(DFTSystem(atom))
    return atoms


def coefficients_of(
    e_type: str,
    systems: Sequence[DFTSystem],
    given: Sequence[float] | None = None,
    bare: Mapping[str, float] | None = None,
) -> list[float]:
    """Return the factors of the energies of an entry: those given, or those of its type.

    With ``bare``, even empty, those that are given have to balance.
    """
    if given is not None:
        if len(given) != len(systems):
            raise InputError(
                f"{len(given)} coefficients for {len(systems)} systems",
                field="coefficients",
                remedy="give one per system",
            )
        factors = [number(c, "coefficients") for c in given]
        if bare is not None:
            check_balance(systems, factors, field="coefficients", bare=bare)
        return factors
    if e_type == "reaction":
        raise InputError(
            "coefficients are missing", field="coefficients", remedy="give the factor of each system's energy"
        )
    if e_type in CONSTRAINT_TYPES:
        return constraint_coefficients(e_type, systems)
    if e_type in ("energy", "ea"):
        return coefficients_by_role(e_type, systems)
    coefficients = positional_coefficients(systems)
    # A single-system ie is minus the energy of that system: nothing to balance.
    if e_type == "ae" or len(systems) > 1:
        check_balance(systems, coefficients, charges=e_type == "ae")
    return coefficients
