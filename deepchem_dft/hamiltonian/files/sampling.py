"""Geometries around a minimum: relaxed, then displaced along the normal modes of vibration."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize

from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.reference import Reference, masses
from deepchem_dft.hamiltonian.sample import MATRICES, HamiltonianSample
from deepchem_dft.units import HARTREE_TO_EV

KELVIN_TO_HARTREE = 8.617333262e-5 / HARTREE_TO_EV
HARTREE_TO_WAVENUMBER = 219474.6313632
#: Softer modes are hindered rotations, whose harmonic amplitudes would tear a molecule apart.
_SOFTEST = 100.0 / HARTREE_TO_WAVENUMBER
#: A mode with a larger imaginary frequency (cm-1) shows that the geometry is no minimum.
_IMAGINARY = 50.0
_FORCE = 3e-4  # Hartree/Bohr that relaxing aims at
#: What it may leave where the noise of a coarse quadrature ends the search: 0.01 Bohr at most.
_FORCE_LEFT = 2e-3
_STEPS = 200
#: A draw is repeated if two atoms come closer than this part of their distance in the minimum.
_CLOSEST = 0.6


@dataclass(frozen=True)
class NormalModes:
    """Harmonic vibrations of a molecule.

    Attributes
    ----------
    positions : np.ndarray
        (N, 3) the minimum, Bohr.
    frequencies : np.ndarray
        (M,) angular frequencies, atomic units (1/cm by `HARTREE_TO_WAVENUMBER`).
    displacements : np.ndarray
        (M, N, 3) per unit of the mass-weighted coordinate, which is in Bohr sqrt(electron mass).
    """

    positions: np.ndarray
    frequencies: np.ndarray
    displacements: np.ndarray

    def draw(self, temperature: float, rng: np.random.Generator) -> np.ndarray:
        """Return positions from the classical harmonic distribution.

        Parameters
        ----------
        temperature : float
            Kelvin.
        rng : np.random.Generator

        Returns
        -------
        np.ndarray
            (N, 3) Bohr.
        """
        widths = np.sqrt(temperature * KELVIN_TO_HARTREE) / np.maximum(self.frequencies, _SOFTEST)
        nearest = _CLOSEST * _distances(self.positions)
        while True:
            along = rng.standard_normal(len(widths)) * widths
            moved = self.positions + np.einsum("m,mnx->nx", along, self.displacements)
            if (_distances(moved) >= nearest).all():
                return moved


def _distances(positions: np.ndarray) -> np.ndarray:
    return np.linalg.norm(positions[:, None] - positions, axis=-1)


def relax(molecule: HamiltonianSample, xc: str, grid_level: int = 3) -> HamiltonianSample:
    """Return the molecule at the nearest minimum of its energy.

    Parameters
    ----------
    molecule : HamiltonianSample
        Its matrices are left out of the result.
    xc : str
    grid_level : int

    Raises
    ------
    InputError
        If it takes too long.
    SCFNotConverged
    """
    nothing: dict[str, Any] = dict.fromkeys((*MATRICES, "energy", "forces"))
    bare = replace(molecule, xc=xc, **nothing)
    density: list[np.ndarray] = []  # of the step before, to start from

    def energy_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        moved = Reference(replace(bare, positions=flat.reshape(-1, 3)), xc, grid_level)
        solution = moved.solve(density[-1] if density else None)
        density[:] = [solution.density]
        return solution.energy, -moved.forces(solution).ravel()

    found = minimize(
        energy_and_gradient,
        bare.positions.ravel(),
        jac=True,
        method="BFGS",
        options={"gtol": _FORCE, "maxiter": _STEPS},
    )
    if np.abs(found.jac).max() > _FORCE_LEFT:
        raise InputError(
            f"not relaxed after {found.nit} steps: a force of "
            f"{np.abs(found.jac).max():.1e} Hartree/Bohr is left",
            field="geometry",
            remedy="give a geometry nearer to a minimum",
        )
    return replace(bare, positions=found.x.reshape(-1, 3))


def normal_modes(minimum: HamiltonianSample, xc: str, grid_level: int = 3) -> NormalModes:
    """Return the harmonic vibrations about a minimum.

    Parameters
    ----------
    minimum : HamiltonianSample
        Of `relax`.
    xc : str
    grid_level : int

    Raises
    ------
    InputError
        If the geometry is no minimum.
    """
    reference = Reference(minimum, xc, grid_level)
    hessian = reference.hessian(reference.solve())
    return modes_of(hessian, minimum.numbers, minimum.positions)


def modes_of(hessian: np.ndarray, numbers: np.ndarray, positions: np.ndarray) -> NormalModes:
    """Return the vibrations that belong to second derivatives of the energy.

    Parameters
    ----------
    hessian : np.ndarray
        (3N, 3N) Hartree/Bohr^2.
    numbers, positions : np.ndarray
        (N,) nuclear charges and (N, 3) Bohr.

    Raises
    ------
    InputError
        If one is imaginary.

    Examples
    --------
    >>> import numpy as np
    >>> spring = 0.37 * np.array([[1, -1], [-1, 1]])  # of hydrogen, along z
    >>> hessian = np.kron(spring, np.diag([0, 0, 1.0]))
    >>> modes = modes_of(hessian, np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 1.4]]))
    >>> (modes.frequencies * HARTREE_TO_WAVENUMBER).round().tolist()
    [4404.0]
    """
    root = np.sqrt(np.repeat(masses(numbers), 3))
    weighted = 0.5 * (hessian + hessian.T) / np.outer(root, root)
    inner = _vibrations(positions, root)
    squares, vectors = np.linalg.eigh(inner.T @ weighted @ inner)
    worst = np.sqrt(max(0.0, -squares.min(initial=0.0))) * HARTREE_TO_WAVENUMBER
    if worst > _IMAGINARY:
        raise InputError(
            f"the geometry is no minimum: a vibration has {worst:.0f}i cm-1",
            field="geometry",
            remedy="give another geometry",
        )
    displacements = ((inner @ vectors).T / root).reshape(len(squares), len(numbers), 3)
    return NormalModes(
        np.array(positions, dtype=np.float64), np.sqrt(np.maximum(squares, 0.0)), displacements
    )


def _vibrations(positions: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Return the directions (3N, M) that neither move nor turn the molecule, mass-weighted."""
    weights = root[::3] ** 2
    centred = positions - weights @ positions / weights.sum()
    rigid = [np.tile(axis, len(positions)) for axis in np.eye(3)]
    rigid += [np.cross(axis, centred).ravel() for axis in np.eye(3)]
    left, sizes, _ = np.linalg.svd((np.array(rigid) * root).T, full_matrices=True)
    return left[:, np.sum(sizes > 1e-6 * sizes.max()) :]  # linear molecules turn in two ways only
