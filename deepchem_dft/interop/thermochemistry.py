"""Enthalpy, entropy and Gibbs energy of a molecule as an ideal gas, by PySCF's formulae."""

from dataclasses import dataclass
from itertools import permutations
from types import SimpleNamespace

import numpy as np
from pyscf import lib
from pyscf.hessian import thermo
from scipy.spatial.transform import Rotation

from deepchem_dft.errors import InputError
from deepchem_dft.molecule import Molecule

__all__ = ["ATMOSPHERE", "ROOM_TEMPERATURE", "Thermochemistry", "ideal_gas", "symmetry_number"]

ROOM_TEMPERATURE = 298.15  # K
ATMOSPHERE = 101325.0  # Pa
#: Atoms count as interchanged if they come this close to each other's places, Bohr.
_SAME_PLACE = 0.05
#: Smallest moment of inertia, as a share of the largest, of what is no straight line.
_STRAIGHT = 1e-5


@dataclass(frozen=True)
class Thermochemistry:
    """An ideal gas of rigid rotors and harmonic oscillators.

    Attributes
    ----------
    temperature : float
        K.
    pressure : float
        Pa.
    energy : float
        Of nuclei at rest, Ha.
    zero_point : float
        Of the vibrations, Ha.
    enthalpy, gibbs : float
        At temperature and pressure, ``energy`` included, Ha.
    entropy : float
        Ha/K.
    heat_capacity : float
        At constant pressure, Ha/K.
    symmetry_number : int
        Turns of the rigid molecule that interchange like atoms only; lowers the entropy.
    """

    temperature: float
    pressure: float
    energy: float
    zero_point: float
    enthalpy: float
    gibbs: float
    entropy: float
    heat_capacity: float
    symmetry_number: int

    def as_data(self) -> dict[str, float]:
        """Return it as plain data, with units in the names."""
        return {
            "temperature_kelvin": self.temperature,
            "pressure_pascal": self.pressure,
            "energy_hartree": self.energy,
            "zero_point_energy_hartree": self.zero_point,
            "enthalpy_hartree": self.enthalpy,
            "gibbs_energy_hartree": self.gibbs,
            "entropy_hartree_per_kelvin": self.entropy,
            "heat_capacity_hartree_per_kelvin": self.heat_capacity,
            "symmetry_number": self.symmetry_number,
        }


def ideal_gas(
    molecule: Molecule,
    energy: float,
    frequencies: np.ndarray,
    temperature: float = ROOM_TEMPERATURE,
    pressure: float = ATMOSPHERE,
    symmetry: int | None = None,
) -> Thermochemistry:
    """Return what statistical mechanics makes of a molecule's vibrations.

    Parameters
    ----------
    molecule : Molecule
        At its minimum; with whole electrons, whose spin is the only degeneracy that counts.
    energy : float
        Ha.
    frequencies : ndarray
        Square roots of the eigenvalues of the mass-weighted Hessian (Ha/Bohr^2/u), as PySCF has
        them; those that are not positive are left out.
    temperature : float
        K.
    pressure : float
        Pa.
    symmetry : int, optional
        The symmetry number. Default: found from the geometry.

    Raises
    ------
    InputError
        For a temperature or pressure that is not positive.

    References
    ----------
    McQuarrie, Statistical Mechanics (1976), chapters 6 and 8; Sun et al., J. Chem. Phys. 153, 024109
    (2020): PySCF.

    Examples
    --------
    The entropy of a gas of atoms is that of Sackur and Tetrode, 154.8 J/mol/K for argon.

    >>> gas = ideal_gas(Molecule("Ar 0 0 0", "sto-3g"), 0.0, np.zeros(0))
    >>> round(gas.entropy * 2625499.6, 1)
    154.7
    """
    check_conditions(temperature, pressure)
    sigma = symmetry_number(molecule) if symmetry is None else symmetry
    mol = pyscf_mole(molecule)
    # PySCF looks for axes that are exact to 1e-5 Angstrom, which no relaxed geometry has
    with lib.temporary_env(thermo, rotational_symmetry_number=lambda _: sigma):
        model = SimpleNamespace(mol=mol, e_tot=energy)
        found = thermo.thermo(model, np.asarray(frequencies), temperature, pressure)
    return Thermochemistry(
        temperature,
        pressure,
        energy,
        zero_point=float(found["ZPE"][0]),
        enthalpy=float(found["H_tot"][0]),
        gibbs=float(found["G_tot"][0]),
        entropy=float(found["S_tot"][0]),
        heat_capacity=float(found["Cp_tot"][0]),
        symmetry_number=sigma,
    )


def check_conditions(temperature: float, pressure: float) -> None:
    """Raise InputError unless both are positive."""
    for name, value in (("temperature", temperature), ("pressure", pressure)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"a gas has no {name} of {value:g}", field=name, remedy="give a positive number")


def pyscf_mole(molecule: Molecule) -> object:
    """Return PySCF's molecule with our spin, an almost straight one made straight."""
    mol = molecule.pyscf_mol.copy()
    mol.spin = int(molecule.spin)
    masses, positions = mol.atom_mass_list(isotope_avg=True), molecule.positions
    axis = line_of(masses, positions)
    if axis is not None:
        centre = masses @ positions / masses.sum()
        mol.set_geom_(centre + np.outer((positions - centre) @ axis, axis), unit="Bohr")
    return mol


def line_of(masses: np.ndarray, positions: np.ndarray) -> np.ndarray | None:
    """Return the axis of a linear molecule, a unit vector, and None for others (and for an atom)."""
    if len(positions) < 2:
        return None
    from_centre = positions - masses @ positions / masses.sum()
    spread, axes = np.linalg.eigh(np.einsum("a,ax,ay->xy", masses, from_centre, from_centre))
    # off the axis there is the sum of the two others
    return axes[:, 2] if spread[:2].sum() < _STRAIGHT * spread[2] else None


def symmetry_number(molecule: Molecule) -> int:
    """Count the turns of a rigid molecule that interchange like atoms only.

    Geometries may be off by the few hundredths of a Bohr that a relaxation leaves.

    Examples
    --------
    >>> water = Molecule("O 0 0 0; H 0 1.43 -0.98; H 0 -1.431 -0.981", "sto-3g")
    >>> symmetry_number(water), symmetry_number(Molecule("H 0 0 0; H 0 0 1.4", "sto-3g"))
    (2, 2)
    """
    symbols, masses = np.array(molecule.symbols), molecule.pyscf_mol.atom_mass_list(isotope_avg=True)
    if len(symbols) == 1:
        return 1
    where = molecule.positions - masses @ molecule.positions / masses.sum()
    axis = line_of(masses, where)
    if axis is not None:
        return 1 + (_images(symbols, where, -where) is not None)
    first, second = _base(where)
    length = np.linalg.norm(where, axis=1)
    like = (symbols[:, None] == symbols) & (abs(length[:, None] - length) < _SAME_PLACE)
    found = set()
    for a, b in permutations(range(len(symbols)), 2):
        if not (like[first, a] and like[second, b]):
            continue
        apart = np.linalg.norm(where[a] - where[b]) - np.linalg.norm(where[first] - where[second])
        if abs(apart) > 2 * _SAME_PLACE:
            continue
        turn, _ = Rotation.align_vectors(where[[a, b]], where[[first, second]])
        images = _images(symbols, where, turn.apply(where), 3 * _SAME_PLACE)
        if images is None:
            continue
        # once more with all atoms, which is as exact as the geometry allows
        turn, _ = Rotation.align_vectors(where[images], where)
        if _images(symbols, where, turn.apply(where)) is not None:
            found.add(tuple(images))
    return len(found)


def _base(where: np.ndarray) -> tuple[int, int]:
    """Return two atoms whose directions span a plane as well as any."""
    areas = np.linalg.norm(np.cross(where[:, None], where[None]), axis=-1)
    first, second = np.unravel_index(areas.argmax(), areas.shape)
    return int(first), int(second)


def _images(
    symbols: np.ndarray, where: np.ndarray, moved: np.ndarray, close: float = _SAME_PLACE
) -> np.ndarray | None:
    """Return on whose place each atom comes to lie, or None if not all do."""
    distance = np.linalg.norm(moved[:, None] - where, axis=-1)
    distance[symbols[:, None] != symbols] = np.inf
    images = distance.argmin(1)
    on_places = distance.min(1).max() < close and len(set(images)) == len(images)
    return images if on_places else None
