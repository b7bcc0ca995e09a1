"""Do the functionals of the zoo converge on every molecule of the data sets, and how fast?

Usage: python examples/benchmarks/xc/zoo_convergence.py [--xc NAME ...] [--basis def2-svp]
           [--grid-level 1] [--max-electrons N] [--every K] [--keep FILE.jsonl] [--jobs N]
Every system of the package's data sets but the board's, atoms and ions included, solved from atomic densities
with PBE and each functional. Ends non-zero unless all converge, in at most 1.35 times PBE's
iterations (mean of those that converge with both).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from _zoo_studies import Verdicts, add_options, functionals, table

from deepchem_dft.cli.common import dataset_ref, load_deepchem, solution_progress
from deepchem_dft.molnet.location import BOARDS
from deepchem_dft.runs.xc.entries import dataset_names, select, unique_systems
from deepchem_dft.scf.many import Solver
from deepchem_dft.scf.solutions import EnergyRecord, Functional

#: Most iterations, relative to PBE's.
RATIO = 1.35


def systems(basis: str, names: Sequence[str] | None, max_electrons: int | None, every: int) -> dict:
    """Return the distinct systems of data sets in one basis, by key: (data set, system)."""
    found: dict = {}
    # Boards have thousands of systems, many of them large: only by name.
    for name in names or [n for n in dataset_names() if n not in BOARDS]:
        entries = [e for e in select(dataset_ref(name), basis) if e.is_energy]
        for system in unique_systems(entries):
            if max_electrons is None or sum(system.electrons) <= max_electrons:
                found.setdefault(system.key, (name, system))
    return dict(list(found.items())[::every])


def solve(molecules: Sequence, chosen: Sequence[Functional], options) -> dict:
    """Return solutions by (molecule key, functional key), each found from atomic densities."""
    solved: dict[tuple[str, str], EnergyRecord] = {}
    with Solver(options.jobs, cache=options.keep) as solver:
        for functional in chosen:  # one at a time: two together would start from each other
            with solution_progress(functional.label) as show:
                solved |= solver.solve([(m, [functional]) for m in molecules], on_solution=show)
    return solved


def row(label: str, solutions: Sequence[EnergyRecord], pbe: Sequence[EnergyRecord]) -> list[str]:
    """Return one line of the table."""
    both = [(a, b) for a, b in zip(solutions, pbe, strict=True) if a.converged and b.converged]
    own, theirs = (np.array([s.iterations for s in side]) for side in zip(*both))
    share = sum(s.converged for s in solutions)
    return [
        label,
        f"{share} of {len(solutions)}",
        f"{own.mean():.1f}",
        f"{np.median(own):.0f}",
        f"{own.max()}",
        f"{own.mean() / theirs.mean():.2f}",
        f"{sum(s.seconds for s in solutions):.0f}",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, "def2-svp", 1)
    parser.add_argument("--dataset", action="append", help="some of the data sets only")
    parser.add_argument("--max-electrons", type=int, help="leave out larger systems")
    parser.add_argument("--every", type=int, default=1, help="only every so many systems")
    options = parser.parse_args()
    load_deepchem()
    chosen = functionals(options.xc, ["pbe"])
    wanted = systems(options.basis, options.dataset, options.max_electrons, options.every)
    print(f"{len(wanted)} systems, {options.basis}, grid level {options.grid_level}", flush=True)
    molecules = [s.to_molecule(options.grid_level) for _, s in wanted.values()]
    solved = solve(molecules, chosen, options)
    found = {f.label: [solved[m.key, f.key] for m in molecules] for f in chosen}
    heads = ["functional", "converged", "mean", "median", "most", "x PBE", "seconds"]
    print("\nFock builds from atomic densities:\n")
    print(table(heads, [row(label, solutions, found["pbe"]) for label, solutions in found.items()]))
    print()
    verdicts = Verdicts()
    for label, solutions in found.items():
        lost = [
            f"{n}: {s.name} ({s.status})" for (n, _), s in zip(wanted.values(), solutions) if not s.converged
        ]
        verdicts.check(f"{label} converges", not lost, "; ".join(lost) or f"{len(solutions)}")
        if label != "pbe":
            ratio = float(row(label, solutions, found["pbe"])[5])
            verdicts.check(f"{label}, iterations / PBE's", ratio <= RATIO, f"{ratio:.2f} (wanted <= {RATIO})")
    worst = max(found, key=lambda name: float(row(name, found[name], found["pbe"])[5]))
    print(
        f"{sum(s.converged for v in found.values() for s in v)} of "
        f"{sum(map(len, found.values()))} converged; at most "
        f"{row(worst, found[worst], found['pbe'])[5]} x PBE's iterations ({worst})"
    )
    return 1 if verdicts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
