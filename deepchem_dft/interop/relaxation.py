"""Geometries relaxed with any functional, by ASE's BFGS or by geomeTRIC through PySCF."""

import importlib.util
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from deepchem_dft.checks import choice
from deepchem_dft.errors import InputError, SCFNotConverged
from deepchem_dft.interop.coordinates import Coordinate, as_geometric
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.names import get_xc

__all__ = ["OPTIMIZERS", "Relaxed", "Step", "relax", "relaxed_scan"]

#: What an optimiser needs, and how to get it.
OPTIMIZERS = {
    "bfgs": ("ase", "pip install 'ase>=3.22.1'"),
    "geometric": ("geometric", "pip install 'deepchem_dft[geometry]'"),
}


@dataclass(frozen=True)
class Step:
    """One geometry on the way.

    Attributes
    ----------
    energy : float
        Ha.
    force : float
        Length of the largest force on an atom, Ha/Bohr.
    uncertainty : float or None
        Of the energy, Ha, where an ensemble tells; not known with geomeTRIC, but at the end.
    positions, forces : ndarray, shape (natom, 3)
        Bohr, Ha/Bohr.
    """

    energy: float
    force: float
    uncertainty: float | None = None
    positions: np.ndarray | None = field(default=None, repr=False, compare=False)
    forces: np.ndarray | None = field(default=None, repr=False, compare=False)


@dataclass
class Relaxed:
    """Outcome of a relaxation.

    Attributes
    ----------
    molecule : Molecule
        With the last geometry.
    result : KSResult
        At that geometry.
    converged : bool
        False if the forces were not small enough after as many steps as were allowed.
    steps : list of Step
        From the first geometry to the last.
    """

    molecule: Molecule
    result: Any
    converged: bool
    steps: list[Step] = field(repr=False)


def relax(
    molecule: Molecule,
    functional: str | XCFunctional,
    optimizer: str = "bfgs",
    *,
    fmax: float = 4.5e-4,
    max_steps: int = 100,
    tol: float = 1e-6,
    stability: bool = False,
    on_step: Callable[[Step], None] | None = None,
    constraints: Sequence[str | Coordinate] = (),
    transition_state: bool = False,
) -> Relaxed:
    """Move the atoms of a molecule to a minimum of its energy, or to a saddle point.

    Parameters
    ----------
    molecule : Molecule
        Where to start from; it is not changed.
    functional : str or XCFunctional
    optimizer : str
        ``bfgs`` of ASE, through :class:`~deepchem_dft.interop.ase.KohnShamCalculator`; or
        ``geometric``, geomeTRIC in internal coordinates, through
        :func:`~deepchem_dft.interop.pyscf.to_pyscf`. The latter needs fewer steps for floppy
        molecules, and also looks at how far atoms still move.
    fmax : float
        Converged is a geometry with no larger force on any atom, Ha/Bohr.
    max_steps : int
        Bound on the moves.
    tol : float
        Convergence of the self-consistent fields, Ha. Those that geomeTRIC asks for are PySCF's,
        to its own bounds.
    stability : bool
        Test whether the self-consistent fields are minima, and go on down if not.
    on_step : callable, optional
        Called with every :class:`Step` when it is known.
    constraints : sequence of str or Coordinate
        Held while everything else relaxes, by geomeTRIC alone: ``"distance 1 2"`` as it is,
        ``"angle 1 2 3 = 104"`` at a value (atoms from 1; Angstrom, degrees); see
        :class:`~deepchem_dft.interop.coordinates.Coordinate`. Forces along them remain.
    transition_state : bool
        Go uphill along one mode to a saddle point of first order, by geomeTRIC alone, beginning with
        the Hessian of :func:`~deepchem_dft.interop.vibrations.frequencies`.

    Raises
    ------
    InputError
        For an optimiser that is unknown or not installed, or a single atom.
    SCFNotConverged
        If a self-consistent field on the way does not converge.

    References
    ----------
    Wang and Song, J. Chem. Phys. 144, 214108 (2016): geomeTRIC. Its transition states: Baker, J. Comput.
    Chem. 7, 385 (1986).

    Examples
    --------
    >>> h2 = Molecule("H 0 0 0; H 0 0 1.3", "sto-3g", grid_level=0)
    >>> found = relax(h2, "pbe", fmax=1e-3)
    >>> found.converged, round(float(found.molecule.positions[1, 2]
    ...                              - found.molecule.positions[0, 2]), 1)      # Bohr
    (True, 1.4)
    """
    choice(optimizer, OPTIMIZERS, "optimizer")
    package, command = OPTIMIZERS[optimizer]
    alone = bool(constraints or transition_state)  # geomeTRIC's
    if importlib.util.find_spec(package) is None:
        others = [
            name
            for name in OPTIMIZERS
            if name != optimizer and not alone and importlib.util.find_spec(OPTIMIZERS[name][0])
        ]
        raise InputError(
            f"the optimiser {optimizer!r} is not installed",
            field="optimizer",
            remedy=" or ".join([command, *(f"--optimizer {o}" for o in others)]),
        )
    if len(molecule.symbols) < 2:
        raise InputError(
            "an atom has no geometry to relax", field="geometry", remedy="use 'deepchem-dft scf'"
        )
    if molecule.occupations is not None or any(n % 1 for n in molecule.nelec):
        raise InputError(
            "only whole electrons in the lowest orbitals can be relaxed with",
            field="geometry",
            remedy="leave nelec and occupations out",
        )
    if not (fmax > 0 and max_steps > 0):
        raise InputError("fmax and the number of steps must be positive", field="fmax")
    if alone and optimizer != "geometric":
        raise InputError(
            "constraints and transition states are geomeTRIC's",
            field="optimizer",
            remedy=f"use 'geometric' ({OPTIMIZERS['geometric'][1]})",
        )
    held = [
        c if isinstance(c, Coordinate) else Coordinate.read(c, len(molecule.symbols)) for c in constraints
    ]
    functional = get_xc(functional)
    steps: list[Step] = []

    def note(step: Step) -> None:
        steps.append(step)
        if on_step is not None:
            on_step(step)

    if optimizer == "bfgs":
        converged, positions, result = _bfgs(molecule, functional, fmax, max_steps, tol, note, stability)
    else:
        converged, positions = _geometric(molecule, functional, fmax, max_steps, note, held, transition_state)
        result = None
    last = molecule.at(positions)
    if result is None:
        result = KohnSham(last, functional, tol=tol, stability=stability).run()
    return Relaxed(last, result, converged, steps)


def relaxed_scan(
    molecule: Molecule,
    functional: str | XCFunctional,
    coordinate: str,
    values: Sequence[float],
    *,
    constraints: Sequence[str | Coordinate] = (),
    on_point: Callable[[float, int], None] | None = None,
    **options: Any,
) -> list[tuple[Coordinate, Relaxed]]:
    """Relax a molecule at each of several values of a coordinate, by geomeTRIC.

    Parameters
    ----------
    molecule : Molecule
    functional : str or XCFunctional
    coordinate : str
        ``"distance 1 2"``, ``"angle 1 2 3"`` or ``"dihedral 1 2 3 4"``.
    values : sequence of float
        Angstrom or degrees.
    constraints
        What else is held.
    on_point : callable, optional
        Called with each value and how many are done.
    **options
        ``fmax``, ``max_steps``, ``tol``, ``stability`` of :func:`relax`.

    Returns
    -------
    list of (Coordinate, Relaxed)
        The coordinate with its value as ``target``.
    """
    functional = get_xc(functional)
    found: list[tuple[Coordinate, Relaxed]] = []
    where = molecule
    for value in values:
        held = Coordinate.read(f"{coordinate} = {float(value)!r}", len(molecule.symbols))
        relaxed = relax(where, functional, "geometric", constraints=[held, *constraints], **options)
        where = relaxed.molecule
        found.append((held, relaxed))
        if on_point is not None:
            on_point(float(value), len(found))
    return found


def largest(forces: np.ndarray) -> float:
    """Return the length of the longest of vectors (natom, 3)."""
    return float(np.linalg.norm(forces, axis=-1).max())


def _geometric(
    molecule: Molecule,
    functional: XCFunctional,
    fmax: float,
    max_steps: int,
    note: Callable[[Step], None],
    held: Sequence[Coordinate] = (),
    transition_state: bool = False,
) -> tuple[bool, np.ndarray]:
    """Return whether geomeTRIC converged, and where the atoms are (natom, 3), Bohr."""
    from pyscf.geomopt import geometric_solver

    from deepchem_dft.interop.pyscf import to_pyscf

    mf = to_pyscf(molecule, functional)
    mf.verbose, mf.mol.verbose = 0, 0
    seen: list[float] = []

    def tell(found: dict[str, Any]) -> None:
        if not found["g_scanner"].converged:  # of no use, and the last one
            raise SCFNotConverged(
                f"the self-consistent field of {molecule.name} did not converge at geometry {len(seen)}"
            )
        seen.append(float(found["energy"]))
        forces = -np.asarray(found["gradients"])
        note(Step(seen[-1], largest(forces), None, np.array(found["coords"]).reshape(-1, 3), forces))

    options: dict[str, Any] = {}
    if transition_state:
        from deepchem_dft.interop.vibrations import frequencies

        # geomeTRIC asks PySCF for this, whose own is not good with every functional and grid
        start = frequencies(molecule, functional).hessian
        mf.Hessian = lambda: SimpleNamespace(kernel=lambda: start)
        options = {"transition": True, "hessian": True}
    with _silent() as settings:
        if held:
            file = Path(settings).with_name("constraints.txt")
            file.write_text(as_geometric(held))
            options["constraints"] = str(file)
        converged, mol = geometric_solver.kernel(
            mf,
            assert_convergence=False,
            callback=tell,
            maxsteps=max_steps,
            logIni=settings,
            # the bounds of Gaussian, of which geomeTRIC's are a copy, scaled to the one asked for
            convergence_gmax=fmax,
            convergence_grms=fmax / 1.5,
            **options,
        )
    return bool(converged), mol.atom_coords()


@contextmanager
def _silent() -> Iterator[str]:
    """Keep geomeTRIC from printing, and from leaving its log in charge of everyone's."""
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "log.ini"
        settings.write_text(_LOG_INI)
        try:
            yield str(settings)
        finally:
            root.setLevel(before[0])
            root.handlers[:] = before[1]


_LOG_INI = """[loggers]
keys=root
[handlers]
keys=nowhere
[formatters]
keys=
[logger_root]
level=CRITICAL
handlers=nowhere
[handler_nowhere]
class=NullHandler
args=()
"""


def _bfgs(
    molecule: Molecule,
    functional: XCFunctional,
    fmax: float,
    max_steps: int,
    tol: float,
    on_step: Callable[[Step], None],
    stability: bool = False,
) -> tuple[bool, np.ndarray, Any]:
    """Relax a molecule; see :func:`relax`.

    Returns
    -------
    converged : bool
    positions : ndarray, shape (natom, 3), Bohr
    result : KSResult
    """
    from ase import Atoms, units
    from ase.calculators.calculator import CalculatorSetupError, SCFError
    from ase.optimize import BFGS

    from deepchem_dft.interop.ase import KohnShamCalculator

    atoms = Atoms(molecule.symbols, molecule.positions * units.Bohr)
    calculator = KohnShamCalculator(functional, tol=tol, stability=stability)
    calculator._template = molecule
    atoms.calc = calculator
    seen = 0

    def tell() -> None:
        nonlocal seen
        seen += 1
        spread = calculator.results.get("energy_uncertainty")
        forces = atoms.get_forces() * units.Bohr / units.Hartree
        on_step(
            Step(
                float(atoms.get_potential_energy()) / units.Hartree,
                largest(forces),
                None if spread is None else spread / units.Hartree,
                atoms.get_positions() / units.Bohr,
                forces,
            )
        )

    optimizer = BFGS(atoms, logfile=None)
    optimizer.attach(tell)
    try:
        converged = optimizer.run(fmax=fmax * units.Hartree / units.Bohr, steps=max_steps)
    except SCFError as error:
        raise SCFNotConverged(f"{error}, at geometry {seen}") from None
    except CalculatorSetupError as error:
        raise (error.__cause__ or error) from None
    return bool(converged), atoms.get_positions() / units.Bohr, calculator.result
