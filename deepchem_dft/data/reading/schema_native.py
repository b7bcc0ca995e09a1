"""The package's own YAML schema: named systems, units, sources; roles from charge and atoms."""

from collections.abc import Mapping
from typing import Any

from deepchem_dft.checks import choice
from deepchem_dft.data.constraints import CONSTRAINT_TYPES, constraint_coefficients
from deepchem_dft.data.entry import ENERGY_TYPES, ENTRY_TYPES, DFTEntry
from deepchem_dft.data.fields import Fields, number, show
from deepchem_dft.data.reading.context import COMMON_KEYS, Context
from deepchem_dft.data.reading.native_header import FORMAT, Header
from deepchem_dft.data.stoichiometry import bare_particle, coefficients_by_role, ground_state_atoms
from deepchem_dft.data.system import DFTSystem
from deepchem_dft.errors import InputError

#: Keys that name systems, by entry type. The first of each may stand alone.
ROLES: dict[str, tuple[str, ...]] = {
    "energy": ("systems", "molecule"),
    "ae": ("systems", "molecule", "atoms"),
    "ie": ("systems", "neutral", "cation"),
    "ea": ("systems", "neutral", "anion"),
    "reaction": ("systems", "coefficients"),
    "fractional_charge": ("systems",),
    "fractional_spin": ("systems",),
    "dm": ("systems", "molecule"),
    "dens": ("systems", "molecule"),
}
_ROLE_KEYS = tuple(dict.fromkeys(key for keys in ROLES.values() for key in keys))
KEYS = ("type", "value", *_ROLE_KEYS, *COMMON_KEYS)
_FORMS = {
    "energy": "write 'molecule: NAME'",
    "ae": "write 'systems: [...]' with the molecule and its atoms, or 'molecule: NAME' with 'atoms: auto'",
    "ie": "write 'systems: [...]', or 'neutral: NAME' and 'cation: NAME'",
    "ea": "write 'systems: [...]', or 'neutral: NAME' and 'anion: NAME'",
    "reaction": "write 'coefficients: {product: 1, reactant: -1}', with 'e-: 1' for an electron set free and "
    "'H+: 1' for a proton",
    "fractional_charge": "write 'systems: [...]' with the system of fractional charge and its "
    "neighbours of whole charge",
    "fractional_spin": "write 'systems: [...]' with the fractional system and the one that it is "
    "compared with",
    "dm": "write 'molecule: NAME'",
    "dens": "write 'molecule: NAME'",
}


def build(data: Any, context: Context) -> DFTEntry:
    """Make an entry of one item under ``entries``.

    Parameters
    ----------
    data : mapping
        ``type`` and ``value``, the systems in one of the forms of their type, and optionally
        ``name``, ``weight``, ``source``, ``split``, ``tags``.
    context : Context
        With the file's `Header`.

    Returns
    -------
    DFTEntry

    Raises
    ------
    InputError

    Examples
    --------
    >>> head = Header({"format": "deepchem_dft/1", "defaults": {"basis": "sto-3g"},
    ...                "systems": {"h2": "H 0 0 0; H 0 0 1.4"}, "entries": [{}]})
    >>> build({"type": "ae", "value": "109.5 kcal/mol", "molecule": "h2", "atoms": "auto"},
    ...       Context(header=head))
    DFTEntry(ae 'ae-h2': -E(H2) + 2 E(H) = 0.174499 Ha)
    """
    header: Header = context.header
    fields = Fields(data, KEYS, f"an entry of {FORMAT}")
    e_type = fields.get("type", header.type)
    if e_type is None:
        raise InputError("type is missing", field="type", remedy=f"write one of {', '.join(ENTRY_TYPES)}")
    choice(e_type, ENTRY_TYPES, "type", "entry type")
    foreign = [key for key in _ROLE_KEYS if key in fields and key not in ROLES[e_type]]
    if foreign:
        raise InputError(
            f"{foreign[0]!r} has no place in an entry of type {e_type}",
            field=foreign[0],
            remedy=_FORMS[e_type],
        )
    options = context.options(fields)
    options["source"] = options["source"] or header.source
    options.setdefault("split", header.split)
    weight = fields.number("weight", header.weight)
    if "value" not in fields and e_type not in CONSTRAINT_TYPES:
        example = "232.6 kcal/mol" if e_type in ENERGY_TYPES else "ccsd, or the name of a file"
        raise InputError("value is missing", field="value", remedy=f"write a value: {example}")
    systems, coefficients, bare = _members(e_type, fields, header)
    try:
        return DFTEntry.create(
            e_type,
            fields.get("value"),
            systems,
            weight,
            coefficients=coefficients,
            bare=bare,
            energy_unit=header.energy_unit,
            **options,
        )
    except InputError as error:
        if error.field == "true_val":
            raise InputError(error.problem, field="value", remedy=error.remedy) from None
        raise


def _members(
    e_type: str, fields: Fields, header: Header
) -> tuple[list[DFTSystem], list[float] | None, dict[str, float] | None]:
    if e_type == "reaction":
        return _reaction(fields, header)
    given = [key for key in ROLES[e_type] if key in fields]
    if "systems" in given and len(given) > 1:
        raise InputError(f"systems and {given[1]} are given", field=given[1], remedy=_FORMS[e_type])
    if not given:
        raise InputError(
            "the systems are missing",
            field=ROLES[e_type][-1 if e_type in ("energy", "dm", "dens") else 0],
            remedy=_FORMS[e_type],
        )
    if "systems" in given:
        systems = _list(fields.get("systems"), header)
    elif e_type == "ae":
        systems = _molecule_and_atoms(fields, header)
    else:
        systems = [header.resolve(fields.get(key), key) for key in given]
        if e_type in ("ie", "ea"):
            _check_roles(given, systems)
    if e_type in CONSTRAINT_TYPES:
        return systems, constraint_coefficients(e_type, systems), None
    return systems, coefficients_by_role(e_type, systems) if e_type in ENERGY_TYPES else None, None


def _list(items: Any, header: Header) -> list[DFTSystem]:
    return [header.resolve(item, f"systems[{i}]") for i, item in enumerate(_listed(items))]


def _listed(items: Any) -> list[Any]:
    if not isinstance(items, list):
        raise InputError(
            f"systems must be a list, not {show(items)}",
            field="systems",
            remedy="write 'systems: [h2o, {system: H, number: 2}, O]'",
        )
    if not items:
        raise InputError("systems is empty", field="systems", remedy="add at least one system")
    return items


def _molecule_and_atoms(fields: Fields, header: Header) -> list[DFTSystem]:
    reference = fields.require("molecule", _FORMS["ae"])
    molecule = header.resolve(reference, "molecule")
    atoms = fields.require("atoms", "write 'atoms: auto' for neutral ground-state atoms, or list them")
    if isinstance(atoms, str) and atoms.strip().lower() == "auto":
        if len(molecule.symbols) < 2:
            raise InputError(f"{molecule.name} is an atom", field="molecule", remedy="name a molecule")
        return [molecule, *ground_state_atoms(molecule)]
    if not isinstance(atoms, list) or not atoms:
        raise InputError(
            f"{show(atoms)} is not a list of atoms",
            field="atoms",
            remedy="write 'atoms: auto', or list them: [O, {system: H, number: 2}]",
        )
    return [molecule, *(header.resolve(item, f"atoms[{i}]") for i, item in enumerate(atoms))]


def _check_roles(given: list[str], systems: list[DFTSystem]) -> None:
    """Refuse a cation named as the neutral system; its energy would enter with the wrong sign."""
    if len(given) == 2:
        change = 1 if given[1] == "cation" else -1
        if systems[1].charge != systems[0].charge + change:
            raise InputError(
                f"the {given[1]} has charge {systems[1].charge:+g}, the neutral system "
                f"{systems[0].charge:+g}",
                field=given[1],
                remedy=f"give the {given[1]} a charge of {systems[0].charge + change:+g}",
            )
    elif given != ["neutral"]:
        raise InputError("the neutral system is missing", field="neutral", remedy="write 'neutral: NAME'")


def _reaction(fields: Fields, header: Header) -> tuple[list[DFTSystem], list[float], dict[str, float]]:
    """Return systems, their factors, and those of the electrons and bare nuclei among them."""
    given = fields.require("coefficients", _FORMS["reaction"])
    if isinstance(given, Mapping) and given and "systems" not in fields:
        references, factors = list(given), list(given.values())
        places = [f"coefficients.{str(name)[:60]}" for name in given]
        wheres = places
    elif isinstance(given, list) and "systems" in fields:
        references, factors = _listed(fields.get("systems")), given
        places = [f"coefficients[{i}]" for i in range(len(given))]
        wheres = [f"systems[{i}]" for i in range(len(references))]
        if len(factors) != len(references):
            raise InputError(
                f"{len(factors)} coefficients for {len(references)} systems",
                field="coefficients",
                remedy="give one per system",
            )
    else:
        raise InputError(
            f"{show(given)} does not give the coefficients of the reaction",
            field="coefficients",
            remedy=_FORMS["reaction"],
        )
    systems: list[DFTSystem] = []
    coefficients: list[float] = []
    bare: dict[str, float] = {}
    for reference, factor, place, where in zip(references, factors, places, wheres, strict=True):
        free = isinstance(reference, str) and bare_particle(reference) and not header.defines(reference)
        system = None if free else header.resolve(reference, where)
        if system is not None and system.no != 1:
            raise InputError(
                "number cannot be combined with coefficients",
                field=f"{where}.number",
                remedy="put it into coefficients",
            )
        c = number(factor, place)
        if c == 0 or abs(c) > 1e4:
            raise InputError(
                f"coefficient {c:g} is not possible",
                field=place,
                remedy="give a factor such as 1 or -2, or leave the system out",
            )
        if system is None:
            bare[reference] = bare.get(reference, 0.0) + c
        else:
            systems.append(system)
            coefficients.append(c)
    if not systems:
        raise InputError(
            "the reaction has no systems",
            field="coefficients",
            remedy="name at least one system beside electrons and bare nuclei",
        )
    return systems, coefficients, bare
