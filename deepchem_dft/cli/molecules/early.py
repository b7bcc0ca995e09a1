"""What can be said of input within a second: names, geometries and spins, before torch is loaded."""

import warnings
from collections.abc import Iterable
from typing import Any


def check_names(names: Iterable[str]) -> None:
    """Raise for functionals that do not exist.

    Raises
    ------
    FunctionalError
    """
    from deepchem_dft.xc.dispersion.spelling import check_name

    for name in names:
        check_name(name)


def check_molecule(
    geometry: str,
    charge: float | None = None,
    spin: float | None = None,
    unit: str | None = None,
    basis: Any = None,
) -> None:
    """Raise for what cannot be a molecule: as ``Molecule`` would, but sooner.

    Parameters
    ----------
    geometry, charge, spin, unit, basis
        As of :class:`~deepchem_dft.molecule.Molecule`; no basis is not looked at.

    Raises
    ------
    InputError
    """
    from deepchem_dft.molecule import electrons
    from deepchem_dft.molecule.geometry import formula, nuclear_charge, read_geometry

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they come again
        found = read_geometry(geometry, unit)
    electrons.from_charge_and_spin(
        (found.charge or 0) if charge is None else charge,
        (found.spin or 0) if spin is None else spin,
        nuclear_charge(found.symbols),
        formula(found.symbols),
    )
    if basis is not None:
        from deepchem_dft.molecule.basis import resolve_basis

        resolve_basis(found.symbols, basis)
