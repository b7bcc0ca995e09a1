"""``deepchem-dft scf --no-iterate``: what one Fock build says of a start, as text or JSON."""

from typing import Any

from deepchem_dft.cli import options
from deepchem_dft.cli.common import console
from deepchem_dft.cli.molecules.display import print_forces, print_summary


def print_single_build(found: Any, label: str, forces: bool, warnings: list[str] | None) -> None:
    """Print a :class:`~deepchem_dft.scf.frozen.single_build.SingleBuild`; as JSON if warnings are given."""
    molecule = found.molecule
    if warnings is not None:
        data = {
            "self_consistent": False,
            "functional": label,
            "basis": molecule.basis,
            "energy_hartree": found.energy,
            "harris_foulkes_energy_hartree": found.harris_foulkes,
            "orbital_gradient_hartree": found.commutator,
            "warnings": warnings,
        }
        options.print_json(data | ({"forces_hartree_per_bohr": found.forces().tolist()} if forces else {}))
        return
    apart = abs(found.energy - found.harris_foulkes)
    lines = {
        "functional": label,
        "status": f"NOT self-consistent: one Fock build (orbital gradient {found.commutator:.1e} Ha)",
        "energy": f"{found.energy:.8f} Ha of the density, {found.harris_foulkes:.8f} Ha by Harris-Foulkes",
        "error": f"of either, as a rule at most {1e6 * apart:.2f} microhartree",
    }
    out = console()
    print_summary(out, molecule, lines)
    if forces:
        out.print("the error of forces is of first order in that of the density:")
        print_forces(molecule, found)
