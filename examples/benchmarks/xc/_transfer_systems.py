"""Molecules, atoms and dimers that no zoo functional has seen, with measured values where known.

Ionisation energies (eV): A. Kramida, Yu. Ralchenko, J. Reader and NIST ASD Team, NIST Atomic
Spectra Database, https://physics.nist.gov/asd. Dissociation energies, bond lengths and vibrations:
K. P. Huber, G. Herzberg, Constants of Diatomic Molecules, Van Nostrand 1979. Both hold the effects
of relativity, which no calculation here does; from bromine's energies of atoms in molecules the
first-order spin-orbit splitting is removed, from no ionisation energy.
"""

from __future__ import annotations

import math

from deepchem_dft.units import HARTREE_TO_EV, HARTREE_TO_KCAL

#: Main-group atoms beyond argon: ionisation energy (eV), 2S of the atom and of the cation.
ATOMS = {
    "K": (4.34066, 1, 0),
    "Ca": (6.11316, 0, 1),
    "Ga": (5.99930, 1, 0),
    "Ge": (7.89943, 2, 1),
    "As": (9.78855, 3, 2),
    "Se": (9.75239, 2, 3),
    "Br": (11.81381, 1, 2),
    "Kr": (13.99961, 0, 1),
}
#: Transition metals: the same.
METALS = {
    "Sc": (6.56149, 1, 2),
    "Ti": (6.82812, 2, 3),
    "V": (6.74619, 3, 4),
    "Cr": (6.76651, 6, 5),
    "Mn": (7.43404, 5, 6),
    "Fe": (7.90247, 4, 5),
    "Co": (7.88101, 3, 2),
    "Ni": (7.63988, 2, 1),
    "Cu": (7.72638, 1, 0),
    "Zn": (9.39420, 0, 1),
}
#: Transition-metal dimers: 2S and distances (Angstrom), the second near the measured bond length.
DIMERS = {
    "Sc": (4, (2.3, 2.65, 3.2)),
    "Cr": (0, (1.6, 1.68, 2.2)),
    "Fe": (6, (1.8, 2.02, 2.5)),
    "Cu": (0, (2.0, 2.22, 2.8)),
}
_CM = 1.0 / 349.7551  # kcal/mol per cm^-1
_SPIN_ORBIT_BR = 3685.24 / 3.0 * _CM  # of the ground level below the multiplet's mean, NIST ASD

#: Bonds to bromine: atoms, length (Angstrom), D_e without spin-orbit (kcal/mol): D_0 (eV) plus
#: zero-point energy (we/2 - wexe/4, cm^-1) plus what the atoms gain by spin-orbit coupling.
BONDS = {
    "HBr": (
        "H",
        "Br",
        1.41443,
        3.758 / HARTREE_TO_EV * HARTREE_TO_KCAL + (2648.98 / 2 - 45.22 / 4) * _CM + _SPIN_ORBIT_BR,
    ),
    "Br2": (
        "Br",
        "Br",
        2.28102,
        1.97069 / HARTREE_TO_EV * HARTREE_TO_KCAL + (325.32 / 2 - 1.08 / 4) * _CM + 2 * _SPIN_ORBIT_BR,
    ),
}


def benzene() -> str:
    """Return a regular hexagon, Angstrom: 1.392 between carbons, 1.080 to hydrogen."""
    rows = []
    for k in range(6):
        x, y = math.cos(k * math.pi / 3), math.sin(k * math.pi / 3)
        rows += [f"C {1.392 * x:.6f} {1.392 * y:.6f} 0", f"H {2.472 * x:.6f} {2.472 * y:.6f} 0"]
    return "; ".join(rows)


def naphthalene() -> str:
    """Return two regular hexagons that share an edge, Angstrom: 1.40 and 1.084. Idealised."""
    side, bond = 1.40, 1.084
    height = side * math.sqrt(3) / 2
    carbons: list[tuple[float, float]] = []
    hydrogens = []
    for centre in (-height, height):
        for k in range(6):
            angle = math.pi / 6 + k * math.pi / 3
            x, y = centre + side * math.cos(angle), side * math.sin(angle)
            if all(math.hypot(x - a, y - b) > 0.1 for a, b in carbons):
                carbons.append((x, y))
                if abs(x) > 0.1:
                    reach = (side + bond) / side
                    hydrogens.append((centre + (x - centre) * reach, y * reach))
    rows = [f"C {x:.6f} {y:.6f} 0" for x, y in carbons]
    return "; ".join(rows + [f"H {x:.6f} {y:.6f} 0" for x, y in hydrogens])


#: Larger molecules: geometry in Angstrom and composition.
LARGE = {"benzene": (benzene(), {"C": 6, "H": 6}), "naphthalene": (naphthalene(), {"C": 10, "H": 8})}
