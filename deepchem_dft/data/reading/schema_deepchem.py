"""DeepChem's YAML schema: ``e_type``, ``true_val``, ``systems``; roles from position."""

from typing import Any

from deepchem_dft.data.entry import ENTRY_TYPES, DFTEntry
from deepchem_dft.data.fields import Fields, show, suggest
from deepchem_dft.data.reading.context import COMMON_KEYS, Context
from deepchem_dft.errors import InputError

TYPES = ("ae", "ie", "dm", "dens")
#: DeepChem's keys, and ours that make sense for its entries.
KEYS = ("e_type", "true_val", "systems", *COMMON_KEYS)


def build(data: Any, context: Context) -> DFTEntry:
    """Make an entry of one item of a DeepChem file.

    The value is the sum of the energies of all systems but the first, each times its ``number``,
    minus that of the first: atoms - molecule for ae, cation - neutral for ie. Geometries are in
    Bohr, values in Hartree.

    Parameters
    ----------
    data : mapping
        ``e_type`` (ae, ie, dm, dens), ``true_val``, ``systems`` (each with ``moldesc``, ``basis``
        and optionally ``spin``, ``charge``, ``number``), and optionally ``weight``.
    context : Context

    Returns
    -------
    DFTEntry

    Raises
    ------
    InputError

    Examples
    --------
    >>> n = {"moldesc": "N 0 0 0", "basis": "sto-3g", "spin": "3"}
    >>> cation = {"moldesc": "N 0 0 0", "basis": "sto-3g", "charge": 1, "spin": "2"}
    >>> data = {"e_type": "ie", "true_val": "0.534", "systems": [n, cation]}
    >>> build(data, Context())
    DFTEntry(ie 'ie-N': -E(N) + E(N+) = 0.534000 Ha)
    """
    fields = Fields(data, KEYS, "an entry of DeepChem's schema")
    e_type = fields.require("e_type", f"write one of {', '.join(TYPES)}")
    if not isinstance(e_type, str) or e_type not in TYPES:
        remedy = suggest(e_type, TYPES) or f"use one of {', '.join(TYPES)}"
        if isinstance(e_type, str) and e_type in ENTRY_TYPES:
            remedy = "DeepChem's schema has no such type; write the file with 'format: deepchem_dft/1'"
        raise InputError(f"unknown entry type {show(e_type)}", field="e_type", remedy=remedy)
    systems = fields.require("systems", "list the systems, molecule or neutral first")
    return DFTEntry.create(
        e_type, fields.get("true_val"), systems, fields.number("weight", 1), **context.options(fields)
    )
