"""Changing entries that came from a file: another basis, another value, another split."""

from typing import Any

from deepchem_dft.data.entry import DFTEntry
from deepchem_dft.data.system import DFTSystem
from deepchem_dft.errors import InputError


def replaced(entry: DFTEntry, **changes: Any) -> DFTEntry:
    """Return an entry like another one but for some fields.

    Parameters
    ----------
    entry : DFTEntry
        Of an energy type, or a dm or dens entry whose reference is made on request.
    **changes
        ``e_type``, ``true_val`` (Hartree), ``systems``, ``coefficients``, ``split``, ``name``,
        ``source``, ``tags``.

    Returns
    -------
    DFTEntry

    Raises
    ------
    InputError
        As `DFTEntry.create`, with the name of the entry.

    Examples
    --------
    >>> helium = DFTEntry.create("energy", -2.9, [{"moldesc": "He 0 0 0", "basis": "sto-3g"}])
    >>> replaced(helium, true_val=-2.9037, split="test").split
    'test'
    """
    fields: dict[str, Any] = {
        "e_type": entry.entry_type,
        "true_val": entry.label if entry.is_energy else "ccsd",
        "systems": entry.get_systems(),
        "weight": entry.get_weight(),
        "coefficients": entry.coefficients or None,
        "name": entry.name,
        "source": entry.source,
        "split": entry.split,
        "tags": entry.tags,
        "bare": getattr(entry, "bare", None) or None,
    }
    if not entry.is_energy:
        if not getattr(entry, "is_ccsd", False):
            raise InputError(
                "its target belongs to one basis and grid",
                entry=entry.name,
                field="systems",
                remedy="change only energies and ccsd targets",
            )
        fields["grid_level"] = getattr(entry, "grid_level", 3)
    try:
        return DFTEntry.create(**{**fields, **changes})
    except InputError as error:
        raise error.located(entry=entry.name) from None


def with_basis(entry: DFTEntry, basis: Any) -> DFTEntry:
    """Return an entry with all its systems in another basis.

    Parameters
    ----------
    entry : DFTEntry
    basis : str or mapping
        A name, or a name per element.

    Raises
    ------
    InputError
        For an unknown basis, or one without functions for an element.

    Examples
    --------
    >>> helium = DFTEntry.create("energy", -2.9, [{"moldesc": "He 0 0 0", "basis": "sto-3g"}])
    >>> with_basis(helium, "def2-svp").get_systems()[0].basis
    'def2-svp'
    """
    try:
        systems = [DFTSystem({**system.system, "basis": basis}) for system in entry.get_systems()]
    except InputError as error:
        raise error.located(entry=entry.name, field="basis") from None
    return replaced(entry, systems=systems)
