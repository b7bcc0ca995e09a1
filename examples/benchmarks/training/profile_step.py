"""Where the time of a training step goes, by part, for cold, warm and two-grid steps.

Usage: python examples/benchmarks/training/profile_step.py [--molecule CO2] [--family gga] [--steps 3]

CPU seconds per step with one thread, in this process. Ends non-zero if a warm step takes more than
0.6, or a two-grid step more than 0.3 of a cold one, or if these two make integrals; and if a part
that is watched has taken no time at all, as when a function was renamed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections import defaultdict

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("DEEPCHEM_DFT_CACHE", "off")
warnings.simplefilter("ignore")

import torch  # noqa: E402
from training_step import GEOMETRIES, LEVEL, TOL, UPDATES, energies_target, functional  # noqa: E402

from deepchem_dft.molecule import Molecule, integrals  # noqa: E402
from deepchem_dft.scf import SCFLayer, hamiltonian, ladder, rotations  # noqa: E402

PARTS = [
    (
        "integrals",
        integrals,
        ["electron_repulsion", "one_electron", "three_index", "quadrature", "starting_density"],
    ),
    ("orbitals on the grid", integrals, ["atomic_orbitals"]),
    ("Coulomb, exchange", Molecule, ["_contract"]),
    ("density on the grid", hamiltonian.KSHamiltonian, ["density_of_orbitals", "density_of_matrix"]),
    ("functional, derivatives", hamiltonian.KSHamiltonian, ["xc_potential"]),
    ("potential matrix", hamiltonian.KSHamiltonian, ["matrix_of_potential"]),
    (
        "diagonalisation, DIIS",
        ladder,
        ["diagonalise", "_commutator", "orthonormal_basis", "canonicalise", "off_block"],
    ),
]


#: Most time of a whole step, relative to a cold one; of a part that is kept, relative to its step.
BOUNDS = {"warm": 0.6, "two-grid": 0.3}
KEPT = {"integrals": 0.02, "orbitals on the grid": 0.02}


def judge(table: dict[str, dict[str, float]]) -> list[str]:
    """Return what misses its bound, of seconds by way and part."""
    whole = {way: sum(parts.values()) for way, parts in table.items()}
    shares = {f"{way} / cold": (whole[way] / whole["cold"], bound) for way, bound in BOUNDS.items()}
    shares |= {
        f"{part} of a {way} step": (table[way].get(part, 0.0) / whole[way], bound)
        for way in BOUNDS
        for part, bound in KEPT.items()
    }
    missed = [
        f"{name}: {share:.2f} > {bound}" for name, (share, bound) in shares.items() if not share <= bound
    ]
    return missed + [f"{part}: not found" for part, _, _ in PARTS if not table["cold"].get(part, 0.0) > 0]


class Clock:
    """Times functions, each without the others that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._stack: list[str] = []
        self._since = time.process_time()

    def _turn(self) -> None:
        now = time.process_time()
        self.seconds[self._stack[-1] if self._stack else "rest"] += now - self._since
        self._since = now

    def watch(self, part: str, owner, name: str) -> None:
        """Replace a function by one that is timed."""
        inner = getattr(owner, name)

        def timed(*arguments, **options):
            self._turn()
            self._stack.append(part)
            try:
                return inner(*arguments, **options)
            finally:
                self._turn()
                self._stack.pop()

        setattr(owner, name, timed)

    def read(self) -> dict[str, float]:
        """Return the seconds so far, and begin anew."""
        self._turn()
        seconds, self.seconds = dict(self.seconds), defaultdict(float)
        return seconds


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--molecule", default="CO2", choices=GEOMETRIES)
    parser.add_argument("--family", default="gga", choices=["lda", "gga", "mgga"])
    parser.add_argument("--basis", default="6-311++g(3df,3pd)")
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    clock = Clock()
    for part, owner, names in PARTS:
        for name in names:
            clock.watch(part, owner, name)
            if owner is ladder and hasattr(rotations, name):
                setattr(rotations, name, getattr(ladder, name))
    table = {way: step_times(way, options, clock) for way in ("cold", "warm", "two-grid")}
    parts = [part for part, _, _ in PARTS] + ["rest"]
    print(
        f"{options.molecule}, {options.family} network, {options.basis}, grid level {LEVEL}: "
        "CPU milliseconds per step"
    )
    print(f"{'':24s}" + "".join(f"{way:>10s}" for way in table))
    for part in parts:
        print(f"{part:24s}" + "".join(f"{1e3 * t.get(part, 0.0):10.1f}" for t in table.values()))
    print(f"{'all':24s}" + "".join(f"{1e3 * sum(t.values()):10.1f}" for t in table.values()))
    missed = judge(table)
    print("\n".join([*(f"  MISSED {line}" for line in missed), f"{len(missed)} bounds missed"]))
    return 1 if missed else 0


def step_times(way: str, options: argparse.Namespace, clock: Clock) -> dict[str, float]:
    """Return seconds per part and step."""
    xc = functional(options.family)
    layer = SCFLayer(xc, tol=TOL, two_grid=way == "two-grid")
    optimizer = torch.optim.Adam(xc.parameters(), lr=1e-3)
    molecule = state = result = None
    for step in range(4 + options.steps):
        if step == 4:
            clock.read()
        if way == "cold":
            molecule = result = None  # and with them the integrals
        if molecule is None:
            molecule, state = Molecule(GEOMETRIES[options.molecule], options.basis, grid_level=LEVEL), None
        optimizer.zero_grad()
        result = layer(molecule, state)
        state = result.state
        ((result.energy - energies_target(options.molecule)) ** 2).backward()
        for _ in range(UPDATES):
            optimizer.step()
    return {part: t / options.steps for part, t in clock.read().items()}


if __name__ == "__main__":
    sys.exit(main())
