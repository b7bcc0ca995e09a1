"""Results as MolSSI's QCSchema, which QCEngine, QCFractal and others read."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from deepchem_dft.molecule import Molecule

#: Names of our energy terms in QCSchema.
_TERMS = {"nuclear_repulsion": "nuclear_repulsion_energy", "dispersion": "scf_dispersion_correction_energy"}


def molecule_of(molecule: Molecule) -> dict[str, Any]:
    """Return the section ``molecule``: symbols, geometry in Bohr, charge and multiplicity."""
    return {
        "schema_name": "qcschema_molecule",
        "schema_version": 2,
        "symbols": list(molecule.symbols),
        "geometry": [float(x) for x in molecule.positions.ravel()],
        "molecular_charge": float(molecule.charge),
        "molecular_multiplicity": _whole(molecule.spin + 1),
        "name": molecule.name,
        "fix_com": True,
        "fix_orientation": True,
        "provenance": {"creator": "deepchem_dft"},
    }


def atomic_result(
    result: Any, method: str, *, gradient: np.ndarray | None = None, extras: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a calculation as a ``qcschema_output`` (AtomicResult, version 1), plain data for JSON.

    Parameters
    ----------
    result : KSResult
    method : str
        Name of the functional.
    gradient : (natom, 3), optional
        Ha/Bohr; makes it a result of the driver ``gradient``.
    extras : mapping, optional
        Goes to ``extras.deepchem_dft``, beside charges, moments and orbital energies, which QCSchema has
        no names for. Units: Hartree, Bohr, e.

    References
    ----------
    Smith et al., WIREs Comput. Mol. Sci. 11, e1491 (2021): the MolSSI QCArchive project.
    """
    from deepchem_dft import __version__

    molecule, terms = result.molecule, result.energy_terms
    energy = float(result.energy.detach())
    properties: dict[str, Any] = {
        "calcinfo_nbasis": molecule.nao,
        "calcinfo_nmo": int(result.occupations.shape[1]),
        "calcinfo_nalpha": _whole(molecule.nelec[0]),
        "calcinfo_nbeta": _whole(molecule.nelec[1]),
        "calcinfo_natom": len(molecule.symbols),
        "return_energy": energy,
        "scf_total_energy": energy,
        "scf_one_electron_energy": terms["kinetic"] + terms["nuclear_attraction"],
        "scf_two_electron_energy": terms["coulomb"] + terms["exact_exchange"],
        "scf_xc_energy": terms["exchange_correlation"],
        "scf_dipole_moment": result.dipole.detach().tolist(),
        "scf_iterations": int(result.iterations),
    }
    properties |= {name: terms[term] for term, name in _TERMS.items() if terms[term] or term != "dispersion"}
    own = {
        "energy_terms": terms,
        "orbital_energies": result.orbital_energies.detach().tolist(),
        "occupations": result.occupations.tolist(),
        "restricted": result.restricted,
        "spin_square": result.spin_square,
        "mulliken_charges": result.charges("mulliken").detach().tolist(),
        "loewdin_charges": result.charges("loewdin").detach().tolist(),
        "mulliken_spins": result.spin_populations("mulliken").detach().tolist(),
        "loewdin_spins": result.spin_populations("loewdin").detach().tolist(),
        "quadrupole_about_centre_of_mass": result.quadrupole().detach().tolist(),
        "residual": float(result.commutator),
        "cpu_seconds": result.cpu_seconds,
        "notes": list(result.notes),
        **(extras or {}),
    }
    answer: Any = energy if gradient is None else [float(x) for x in np.ravel(gradient)]
    return {
        "schema_name": "qcschema_output",
        "schema_version": 1,
        "molecule": molecule_of(molecule),
        "driver": "energy" if gradient is None else "gradient",
        "model": {"method": method, "basis": molecule.basis if isinstance(molecule.basis, str) else None},
        "keywords": {"grid_level": molecule.grid_level},
        "provenance": {"creator": "deepchem_dft", "version": __version__, "routine": "KohnSham.run"},
        "properties": properties,
        "return_result": answer,
        "success": bool(result.converged),
        "extras": {"deepchem_dft": own},
    }


def _whole(value: float) -> int | float:
    """Return an int where there is one; QCSchema knows no fractions of electrons."""
    return int(value) if float(value).is_integer() else float(value)
