"""How exact are the exact energies of one-dimensional molecules, and what do they cost?

Usage: python examples/benchmarks/models/ksr_exact.py [--all] [--only SECTION ...]
Sections: time, two, orbitals, solvers, walls, spacing, systems. `--all` takes every separation of
the paper instead of some, which takes an hour; without it, some ten minutes on one core.
Ends non-zero if a bound is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from functools import partial

import numpy as np
import scipy.sparse as sparse
import torch
from scipy.optimize import brentq
from scipy.special import jvp
from threadpoolctl import threadpool_limits

from deepchem_dft.lattice.exact import ORBITALS
from deepchem_dft.lattice.exact import exact as exact_or_cached
from deepchem_dft.lattice.exact.natural_ci import several_electrons
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.interaction import AMPLITUDE, KAPPA, interaction
from deepchem_dft.lattice.systems import CURVE, FAMILIES, TEST, System, h2, h4, ion, lih

GRID = Grid()
exact = partial(exact_or_cached, cached=False)


def curve_time(everything: bool) -> tuple[bool, str]:
    """CPU seconds of the whole H2 curve."""
    clock = time.process_time()
    for distance in CURVE["h2"]:
        exact(h2(distance))
    clock = time.process_time() - clock
    print(f"{len(CURVE['h2'])} points of H2: {clock:.1f} CPU s")
    return clock < 20, f"H2 curve {clock:.1f} CPU s (bound 20)"


def sparse_energy(system: System, near: float) -> float:
    """Solve two electrons on all pairs of points by inverse iteration with a sparse LU.

    No basis, no symmetry but that of the exchange of the electrons, no Davidson: what it shares
    with `exact` is the Hamiltonian.
    """
    n = GRID.points
    one = sparse.csr_matrix(GRID.kinetic_matrix().numpy()) + sparse.diags(
        system.external_potential(GRID).numpy()
    )
    unit = sparse.identity(n)
    repulsion = sparse.diags(interaction(GRID.x[:, None] - GRID.x).numpy().ravel())
    hamiltonian = (sparse.kron(one, unit) + sparse.kron(unit, one) + repulsion).tocsc()
    shifted = sparse.linalg.splu(
        (hamiltonian - (near - 0.02) * sparse.identity(n * n)).tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    start = np.random.default_rng(0).normal(size=(n, n))
    vector = (start + start.T).ravel()
    for _ in range(100):
        vector = shifted.solve(vector)
        vector /= np.linalg.norm(vector)
        image = hamiltonian @ vector
        energy = vector @ image
        if np.linalg.norm(image - energy * vector) < 1e-7:
            return energy
    raise RuntimeError(f"{system.name}: inverse iteration did not converge")


def two(everything: bool) -> tuple[bool, str]:
    """H2 against a method that has nothing in common with ours."""
    distances = CURVE["h2"] if everything else CURVE["h2"][::10]
    worst = 0.0
    for distance in distances:
        energy = exact(h2(distance)).energy
        difference = abs(energy - sparse_energy(h2(distance), energy))
        worst = max(worst, difference)
        print(f"  R = {distance:.2f}: {energy:.10f} Ha, difference {difference:.0e}", flush=True)
    text = f"H2 against sparse inverse iteration: {worst:.0e} Ha at {len(distances)} separations"
    return worst < 1e-6, text


def orbitals(everything: bool) -> tuple[bool, str]:
    """Energies against the number of natural orbitals."""
    numbers, worst = (12, 16, 20, 24, ORBITALS, 36, 44), 0.0
    print("largest E(K) - E(44) over the separations, Ha")
    print("| | n | " + " | ".join(f"K = {k}" for k in numbers[:-1]) + " | left at 44 |")
    for family in ("h4", "h2h2", "h3", "lih", "beh_plus"):
        distances = TEST.get(family, CURVE[family][::17])
        if not everything:
            distances = distances[::7] if family in TEST else distances[::2]
        energies = np.array(
            [[several_electrons(FAMILIES[family](d), GRID, k).energy for k in numbers] for d in distances]
        )
        above = energies[:, :-1] - energies[:, -1:]
        # Errors fall like a power of K, so two differences give what is left at the end.
        ratio = above[:, 5] / (energies[:, 4] - energies[:, 5])
        left = above[:, 5] * ratio / np.clip(1 - ratio, 0.2, None)
        print(
            f"| {family} | {len(distances)} | "
            + " | ".join(f"{x:.1e}" for x in above.max(0))
            + f" | {left.max():.0e} |",
            flush=True,
        )
        if family in ("h4", "h2h2"):
            worst = max(worst, float((above[:, 4] + left).max()))
    text = f"H4 and H2H2 within {worst:.1e} Ha at {ORBITALS} orbitals (bound 1e-5)"
    return worst < 1e-5, text


def solvers(everything: bool) -> tuple[bool, str]:
    """The same CI by PySCF."""
    worst_energy = worst_density = 0.0
    for system in (h4(1.04), h4(2.96), h4(6.0), lih(3.2), FAMILIES["h3"](1.6)):
        clock = time.process_time()
        ours = several_electrons(system, GRID, 16, "pairs")
        middle = time.process_time()
        theirs = several_electrons(system, GRID, 16, "pyscf")
        end = time.process_time()
        worst_energy = max(worst_energy, abs(ours.energy - theirs.energy))
        difference = np.abs(ours.density - theirs.density).max()
        worst_density = max(worst_density, float(difference))
        print(
            f"  {system.name}: energy {ours.energy - theirs.energy:.0e} Ha, density "
            f"{difference:.0e}, CPU s {middle - clock:.2f} against {end - middle:.2f}"
        )
    text = f"full CI against PySCF: {worst_energy:.0e} Ha, density {worst_density:.0e} per Bohr"
    return worst_energy < 1e-8 and worst_density < 1e-4, text


def walls(everything: bool) -> tuple[bool, str]:
    """H2 pushed towards the wall: what the box adds, and what `wall_error` says of it."""
    wide, good = Grid(GRID.points + 400), True
    print("| H2 R = 1.52 and H-: nearest nucleus to wall, Bohr | box adds, Ha | estimate, Ha |")
    for name, system in (("H2", h2(1.52)), ("H-", ion(1, 2))):
        for shift in (0.0, 8.0, 12.0, 14.0, 16.0, 18.0):
            moved = System([p + shift for p in system.positions], system.charges, 2)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that is what this is about
                small, large = exact(moved, GRID), exact(moved, wide)
            adds = small.energy - large.energy
            gap = GRID.half_width + GRID.spacing - max(moved.positions)
            print(f"| {name} {gap:.2f} | {adds:.1e} | {small.wall_error:.1e} |", flush=True)
            if 1e-9 < adds < 0.1:
                good &= 1 / 4 < small.wall_error / adds < 2
    return good, "wall_error is right to a factor of 4 from 1e-9 to 0.1 Ha"


def continuum_hydrogen(charge: float) -> float:
    """Ground state of one electron without a grid: J'_nu(2 sqrt(2 A Z) / kappa) = 0, Ha."""
    argument = 2 * np.sqrt(2 * AMPLITUDE * charge) / KAPPA

    def slope(energy: float) -> float:
        return jvp(2 * np.sqrt(-2 * energy) / KAPPA, argument)

    energies = np.linspace(-AMPLITUDE * charge + 1e-9, -1e-3, 4000)
    signs = np.sign([slope(energy) for energy in energies])
    first = int(np.flatnonzero(signs[:-1] != signs[1:])[0])
    return brentq(slope, energies[first], energies[first + 1], xtol=1e-14)


def spacing(everything: bool) -> tuple[bool, str]:
    """What the spacing costs: against the continuum, for nuclei on, between and off the points."""
    limit = continuum_hydrogen(1)
    print(f"H in the continuum: {limit:.8f} Ha; mHa above it:")
    print("| spacing | on a point | a quarter off | half-way | H2 R = 1.60, on points |")
    pairs = [exact(h2(1.60), Grid(round(40.96 / step) + 1, step)).energy for step in (0.08, 0.04)]
    pair_limit = pairs[1] + (pairs[1] - pairs[0]) / 3
    errors = []
    for step in (0.16, 0.08, 0.04):
        grid = Grid(round(40.96 / step) + 1, step)
        on, quarter, half = (
            exact(System([f * step], [1], 1, 1), grid).energy - limit for f in (0, 0.25, 0.5)
        )
        pair = exact(h2(1.60), grid).energy - pair_limit
        errors.append(on)
        print(
            f"| {step} | {1e3 * on:.3f} | {1e3 * quarter:.3f} | {1e3 * half:.3f} | {1e3 * pair:.3f} |",
            flush=True,
        )
    order = np.log2(errors[0] / errors[1])
    text = f"spacing 0.08 lowers H by {-1e3 * errors[1]:.2f} mHa; error of order {order:.2f}"
    return abs(order - 2) < 0.1, text


def systems(everything: bool) -> tuple[bool, str]:
    """Energies of the other systems, for the record."""
    print("| system | electrons, Ha | with nuclei, Ha |")
    for family, values in (
        ("hydrogen_like", (1, 2)),
        ("helium_like", (1, 2, 3, 4)),
        ("lithium_like", (3, 4)),
        ("beryllium_like", (4,)),
        ("h2_plus", (2.4,)),
        ("h2", (1.52,)),
        ("h3_plus", (1.76,)),
        ("h3", (2.08,)),
        ("h4", (2.0,)),
        ("h2h2", (5.6,)),
        ("heh_plus", (1.6,)),
        ("lih", (3.2,)),
        ("beh_plus", (3.2,)),
    ):
        for value in values:
            state = exact(FAMILIES[family](value))
            print(f"| {state.system.name} | {state.energy:.6f} | {state.total_energy:.6f} |")
    atom, pair = exact(ion(1, 1)).energy, exact(h2(20.0))
    gap = abs(pair.total_energy - 2 * atom)
    return gap < 1e-3, f"H2 at 20 Bohr is two atoms to {gap:.0e} Ha"


SECTIONS = {
    "time": curve_time,
    "two": two,
    "orbitals": orbitals,
    "solvers": solvers,
    "walls": walls,
    "spacing": spacing,
    "systems": systems,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="every separation of the paper")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    with threadpool_limits(1):
        for name in options.only:
            print(f"\n== {name}: {(SECTIONS[name].__doc__ or '').strip()}", flush=True)
            results.append(SECTIONS[name](options.all))
    print()
    for good, text in results:
        print("pass" if good else "FAIL", text)
    print(f"{sum(good for good, _ in results)} of {len(results)} hold")
    return 0 if all(good for good, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
