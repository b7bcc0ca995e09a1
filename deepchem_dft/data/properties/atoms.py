"""Neighbours in crystals, relaxing and moving of molecules by ASE."""

from typing import Any

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.needs import optional


def _ase(name: str) -> Any:
    return optional(name, "a geometry like this", "hamiltonian", "ase")


def version() -> str:
    """Return the version of ASE."""
    return _ase("ase").__version__


def neighbours(
    cell: np.ndarray, positions: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all pairs of atoms of a crystal that are closer than a radius.

    Parameters
    ----------
    cell : np.ndarray
        (3, 3) lattice vectors in rows, Angstrom.
    positions : np.ndarray
        (N, 3) Cartesian, Angstrom.
    radius : float
        Angstrom.

    Returns
    -------
    centre, neighbour : np.ndarray
        (E,) numbers of atoms. A pair occurs once per periodic image, in both directions.
    distance : np.ndarray
        (E,) Angstrom.

    Examples
    --------
    >>> centre, neighbour, distance = neighbours(3 * np.eye(3), np.zeros((1, 3)), 3.1)
    >>> len(centre), distance.tolist()
    (6, [3.0, 3.0, 3.0, 3.0, 3.0, 3.0])
    """
    find = _ase("ase.neighborlist").primitive_neighbor_list
    return find("ijd", [True] * 3, np.asarray(cell, float), np.asarray(positions, float), float(radius))


def relax(
    numbers: np.ndarray, positions: np.ndarray, calculator: Any, force: float = 0.05, steps: int = 500
) -> np.ndarray:
    """Relax a molecule with an ASE calculator.

    Parameters
    ----------
    numbers : np.ndarray
        (N,) nuclear charges.
    positions : np.ndarray
        (N, 3) in Angstrom.
    calculator : ase.calculators.calculator.Calculator
    force : float
        Largest force that may be left on an atom, eV/Angstrom.
    steps : int
        Of L-BFGS, at most.

    Returns
    -------
    np.ndarray
        (N, 3) in Angstrom.

    Raises
    ------
    InputError
        If it takes more steps, or the calculator fails.
    """
    atoms = _ase("ase").Atoms(numbers=np.asarray(numbers), positions=np.asarray(positions, float))
    atoms.calc = calculator
    failures = (RuntimeError, ValueError, _ase("ase.calculators.calculator").CalculatorError)
    try:
        done = _ase("ase.optimize").LBFGS(atoms, logfile=None).run(fmax=force, steps=steps)
    except failures as error:
        raise InputError(f"relaxing fails ({' '.join(str(error).split())})") from None
    if not done:
        raise InputError(f"not relaxed after {steps} steps")
    return atoms.get_positions()


def thermal_motion(
    numbers: np.ndarray,
    positions: np.ndarray,
    calculator: Any,
    temperature: float,
    frames: int,
    rng: np.random.Generator,
    every: int = 20,
    warm_up: int = 1000,
) -> np.ndarray:
    """Let a molecule move at a temperature by Langevin dynamics, in steps of 0.5 fs.

    Parameters
    ----------
    numbers : np.ndarray
        (N,) nuclear charges.
    positions : np.ndarray
        (N, 3) in Angstrom, best a minimum.
    calculator : ase.calculators.calculator.Calculator
    temperature : float
        Kelvin.
    frames : int
        Geometries to be returned.
    rng : np.random.Generator
        Of the first velocities and of the bath; it makes the motion repeatable.
    every : int
        Steps from one geometry to the next.
    warm_up : int
        Steps before the first one. The bath has a friction of 1/(100 fs).

    Returns
    -------
    np.ndarray
        (frames, N, 3) in Angstrom, about the centre of mass.

    Raises
    ------
    InputError
        If the calculator fails, which it does for molecules that come apart.
    """
    units = _ase("ase.units")
    atoms = _ase("ase").Atoms(numbers=np.asarray(numbers), positions=np.asarray(positions, float))
    atoms.calc = calculator
    _ase("ase.md.velocitydistribution").MaxwellBoltzmannDistribution(
        atoms, temperature_K=temperature, rng=rng
    )
    motion = _ase("ase.md.langevin").Langevin(
        atoms, 0.5 * units.fs, temperature_K=temperature, friction=0.01 / units.fs, rng=rng, fixcm=False
    )
    failures = (RuntimeError, ValueError, _ase("ase.calculators.calculator").CalculatorError)
    found = []
    try:
        motion.run(warm_up)
        for _ in range(frames):
            motion.run(every)
            found.append(atoms.get_positions() - atoms.get_center_of_mass())
    except failures as error:
        raise InputError(f"the motion fails ({' '.join(str(error).split())})") from None
    return np.array(found)
