"""How do functionals of the zoo do where they were never trained?

Usage: python examples/benchmarks/xc/transfer.py [PART ...] [--xc NAME ...] [--keep FILE.jsonl]
           [--basis def2-svp] [--jobs N]
Parts: large (atomisation energies of benzene and naphthalene beside those of r2SCAN and B3LYP; no
reference values), elements (ionisation energies of K to Kr, bonds to bromine, beside measured
ones), metals (ionisation energies of Sc to Zn), dimers (Sc2, Cr2, Fe2, Cu2 at three distances: do
they converge?), time (CPU seconds of a self-consistent field beside conventional functionals).
Ends non-zero if anything does not converge.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from _transfer_systems import ATOMS, BONDS, DIMERS, LARGE, METALS
from _zoo_studies import Verdicts, add_options, functionals, table

from deepchem_dft.cli.common import load_deepchem, solution_progress
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham
from deepchem_dft.scf.many import Solver
from deepchem_dft.scf.solutions import Functional
from deepchem_dft.units import HARTREE_TO_EV, HARTREE_TO_KCAL

BASELINES = ["pbe", "r2scan", "b3lyp"]
#: 2S of free atoms.
SPINS = {"H": 1, "C": 2, "Br": 1, **{s: spin for s, (_, spin, _) in {**ATOMS, **METALS}.items()}}
#: What is timed: geometry in Angstrom.
TIMED = {"water": "O 0 0 0.1173; H 0 0.7572 -0.4692; H 0 -0.7572 -0.4692", "benzene": LARGE["benzene"][0]}


class Study:
    """Solves molecules with all functionals and remembers which did not converge."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.chosen = functionals(options.xc, BASELINES)
        self.solved: dict[str, dict[str, object]] = {}
        self.lost: list[str] = []

    @property
    def labels(self) -> list[str]:
        """Names of the functionals."""
        return [f.label for f in self.chosen]

    def molecule(self, geometry: str, charge: int = 0, spin: int = 0, name: str = "") -> Molecule:
        """Return a molecule in the study's basis, lengths in Angstrom."""
        return Molecule(
            geometry,
            self.options.basis,
            charge,
            spin,
            "angstrom",
            self.options.grid_level,
            name=name or geometry,
        )

    def energies(self, title: str, molecules: Sequence[Molecule]) -> dict[str, list[float]]:
        """Return energies (Ha) by functional; NaN where not converged, which is noted."""
        with Solver(self.options.jobs, cache=self.options.keep) as solver, solution_progress(title) as show:
            found = solver.solve([(m, self.chosen) for m in molecules], on_solution=show)
        out: dict[str, list[float]] = {}
        for f in self.chosen:
            row = [found[m.key, f.key] for m in molecules]
            self.lost += [f"{f.label}: {s.name} ({s.status})" for s in row if not s.converged]
            out[f.label] = [s.energy for s in row]
        return out

    def atoms(self, symbols: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return energies (Ha) of free atoms by functional and symbol."""
        found = self.energies("atoms", [self.molecule(f"{s} 0 0 0", spin=SPINS[s], name=s) for s in symbols])
        return {label: dict(zip(symbols, row)) for label, row in found.items()}

    def show(self, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table of figures."""
        print(
            table(heads, [[f"{c:.2f}" if isinstance(c, float) else c for c in row] for row in rows]) + "\n",
            flush=True,
        )


def large(study: Study) -> None:
    """Atomisation energies of larger molecules than any trained on."""
    print("Atomisation energies beside those of r2SCAN and of B3LYP, kcal/mol:\n")
    molecules = [study.molecule(geometry, name=name) for name, (geometry, _) in LARGE.items()]
    whole, atoms = study.energies("large", molecules), study.atoms(["H", "C"])
    values = {
        label: [
            (sum(n * atoms[label][s] for s, n in parts.items()) - e) * HARTREE_TO_KCAL
            for e, (_, parts) in zip(whole[label], LARGE.values())
        ]
        for label in study.labels
    }
    study.show(
        ["functional", *(f"{n}{what}" for n in LARGE for what in ("", " - r2scan", " - b3lyp"))],
        [
            [
                label,
                *(
                    x
                    for i in range(len(LARGE))
                    for x in (row[i], row[i] - values["r2scan"][i], row[i] - values["b3lyp"][i])
                ),
            ]
            for label, row in values.items()
        ],
    )


def ionisation(study: Study, atoms: dict[str, tuple[float, int, int]], title: str) -> None:
    """Ionisation energies of atoms beside measured ones."""
    print(f"Errors of ionisation energies, eV (measured: NIST ASD){title}:\n")
    pairs = [
        m
        for s, (_, spin, ion) in atoms.items()
        for m in (
            study.molecule(f"{s} 0 0 0", spin=spin, name=s),
            study.molecule(f"{s} 0 0 0", charge=1, spin=ion, name=f"{s}+"),
        )
    ]
    found = study.energies("ionisation", pairs)
    rows = []
    for label, energies in found.items():
        values = (np.array(energies[1::2]) - np.array(energies[::2])) * HARTREE_TO_EV
        errors = values - np.array([ie for ie, _, _ in atoms.values()])
        rows.append([label, *map(float, errors), float(np.nanmean(abs(errors)))])
    study.show(["functional", *atoms, "MAE"], rows)


def elements(study: Study) -> None:
    """Atoms from K to Kr and bonds to bromine."""
    ionisation(study, ATOMS, "")
    print("Errors of bond energies, kcal/mol (measured: Huber and Herzberg):\n")
    molecules = [study.molecule(f"{a} 0 0 0; {b} 0 0 {r}", name=n) for n, (a, b, r, _) in BONDS.items()]
    whole, atoms = study.energies("bonds", molecules), study.atoms(["H", "Br"])
    study.show(
        ["functional", *(f"{n} ({v[3]:.1f})" for n, v in BONDS.items())],
        [
            [
                label,
                *(
                    (atoms[label][a] + atoms[label][b] - e) * HARTREE_TO_KCAL - exact
                    for e, (a, b, _, exact) in zip(whole[label], BONDS.values())
                ),
            ]
            for label in study.labels
        ],
    )


def metals(study: Study) -> None:
    """Transition-metal atoms."""
    ionisation(study, METALS, "; without relativity, worth up to some 0.3 eV for Ni and Cu")


def dimers(study: Study) -> None:
    """Transition-metal dimers, spin-restricted where they are singlets."""
    print("Atomisation energies of dimers, eV; no value where not converged:\n")
    points = [(s, spin, r) for s, (spin, distances) in DIMERS.items() for r in distances]
    whole = study.energies(
        "dimers",
        [study.molecule(f"{s} 0 0 0; {s} 0 0 {r}", spin=spin, name=f"{s}2 {r}") for s, spin, r in points],
    )
    atoms = study.atoms(list(DIMERS))
    study.show(
        ["functional", *(f"{s}2 {r}" for s, _, r in points)],
        [
            [
                label,
                *((2 * atoms[label][s] - e) * HARTREE_TO_EV for e, (s, _, _) in zip(whole[label], points)),
            ]
            for label in study.labels
        ],
    )


def seconds(study: Study) -> None:
    """CPU seconds of a self-consistent field, integrals included, one thread."""
    print(
        "CPU seconds of one self-consistent field from atomic densities (Fock builds), and per "
        "build relative to r2SCAN:\n"
    )
    torch.set_num_threads(1)
    rows, reference = [], {}
    for f in sorted(study.chosen, key=lambda f: f.label != "r2scan"):
        row: list[object] = [f.label]
        for name, geometry in TIMED.items():
            spent, builds = timed(study, f, geometry, name)
            reference.setdefault(name, spent / builds)
            row += [f"{spent:.2f} ({builds})", f"{spent / builds / reference[name]:.2f}"]
        rows.append(row)
    study.show(["functional", *(h for n in TIMED for h in (n, "x r2scan"))], rows)


def timed(study: Study, functional: Functional, geometry: str, name: str) -> tuple[float, int]:
    """Return CPU seconds and Fock builds; the better of two, both from cold integrals."""
    best = (float("inf"), 1)
    for _ in range(2):
        module = functional.load()
        molecule = study.molecule(geometry, name=name)
        start = time.process_time()
        with torch.no_grad():
            result = KohnSham(molecule, module).run(on_unconverged="continue")
        best = min(best, (time.process_time() - start, result.iterations))
        molecule.release()
        if not result.converged:
            study.lost.append(f"{functional.label}: {name}")
    return best


PARTS: dict[str, Callable[[Study], None]] = {
    "large": large,
    "elements": elements,
    "metals": metals,
    "dimers": dimers,
    "time": seconds,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (all)")
    add_options(parser, "def2-svp", 2)
    options = parser.parse_args()
    alien = [part for part in options.part if part not in PARTS]
    if alien:
        parser.error(f"there is no part {alien[0]!r}")
    load_deepchem()
    study = Study(options)
    print(f"{options.basis}, grid level {options.grid_level}\n", flush=True)
    for part in options.part or PARTS:
        PARTS[part](study)
    Verdicts().check("all converge", not study.lost, "; ".join(dict.fromkeys(study.lost)) or "yes")
    return 1 if study.lost else 0


if __name__ == "__main__":
    sys.exit(main())
