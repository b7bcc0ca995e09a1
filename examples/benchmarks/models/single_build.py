"""How good are energies and forces of a predicted Hamiltonian, by one Fock build?

Usage: python examples/benchmarks/models/single_build.py [--geometries 5] [--out single_build.csv]

PBE/def2-SVP, geometries displaced at random by 0.03 Angstrom. First true matrices that are wrong on
purpose: by noise in the orthonormal basis, or by a share of the way to the guess of superposed atoms,
for water and ethanol; then polynomials of low degree fitted to 40 geometries of water, and the network
of the zoo. Mean absolute errors against converged fields, and how often the true energy lies between
the two. Ends non-zero unless a tenth of the error of H gives at most a 50th of the errors of both
energies and an eighth of that of forces, and the shipped network has energies (Harris-Foulkes) within
0.05 microhartree and forces within 20 microhartree/Bohr.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from ase import units
from ase.build import molecule as named
from scipy.linalg import eigh

from deepchem_dft import KohnSham, Molecule, zoo
from deepchem_dft.hamiltonian.reference import Reference
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.models import HamiltonianPolynomial
from deepchem_dft.molecule.geometry import SYMBOLS
from deepchem_dft.scf import SCFState

XC, BASIS, DISPLACED = "pbe", "def2-svp", 0.03
ENERGIES, FORCES = 50.0, 8.0  # how much smaller at a tenth of the error
NETWORK = {"energy": 0.05, "forces": 20.0}
COLUMNS = ("molecule", "matrix", "H", "energy", "Harris-Foulkes", "between", "forces", "of")


class Problem:
    """A molecule with its converged field, and what one Fock build makes of other matrices."""

    def __init__(self, name: str, seed: int) -> None:
        atoms, rng = named(name), np.random.default_rng(seed)
        positions = atoms.positions + rng.normal(scale=DISPLACED, size=atoms.positions.shape)
        self.sample = HamiltonianSample(atoms.numbers, positions / units.Bohr, BASIS, xc=XC)
        symbols = [SYMBOLS[z] for z in atoms.numbers]
        self.molecule = Molecule((symbols, self.sample.positions), BASIS)
        self.field = KohnSham(self.molecule, XC, tol=1e-8)
        self.result = self.field.run()
        self.energy = float(self.result.energy.detach())
        reference, density = Reference(self.sample), self.result.total_density_matrix.numpy()
        self.hamiltonian, self.guess = reference.fock(density), reference.guess()
        self.overlap, self.drawn = reference.overlap, rng.normal(size=reference.overlap.shape)

    @cached_property
    def forces(self) -> np.ndarray:
        return self.result.forces().numpy()

    def noise(self, size: float) -> np.ndarray:
        values, vectors = np.linalg.eigh(self.overlap)
        root = (vectors * values**0.5) @ vectors.T
        return self.hamiltonian + size * root @ (self.drawn + self.drawn.T) @ root

    def towards_guess(self, share: float) -> np.ndarray:
        return self.hamiltonian + share * (self.guess - self.hamiltonian)

    def errors(self, hamiltonian: np.ndarray) -> list[float]:
        """Return errors of H and both energies, if the true one is between, of forces, and their size."""
        orbitals = torch.from_numpy(eigh(hamiltonian, self.overlap)[1])[None]
        found = self.field.single_build(SCFState(orbitals, torch.zeros_like(orbitals[:, 0])))
        off = [found.energy - self.energy, found.harris_foulkes - self.energy]
        forces = np.abs(found.forces().numpy() - self.forces).mean()
        between, size = 1e-6 * (off[1] <= 0.0 <= off[0]), np.abs(self.forces).mean()
        wrong = np.abs(hamiltonian - self.hamiltonian).mean()
        return [1e6 * float(x) for x in (wrong, *off, between, forces, size)]


def means(problems: list[Problem], matrix: Callable[[Problem], np.ndarray]) -> np.ndarray:
    return np.abs([one.errors(matrix(one)) for one in problems]).mean(0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--geometries", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[list] = []

    def note(molecule: str, matrix: str, found: np.ndarray) -> np.ndarray:
        rows.append([molecule, matrix, *found])
        print(f"| {molecule} | {matrix} | " + " | ".join(f"{x:.4g}" for x in found) + " |", flush=True)
        return found

    print("| " + " | ".join(COLUMNS) + " | (microhartree, share, microhartree/Bohr)")
    good = True
    for name, count in (("H2O", arguments.geometries), ("CH3CH2OH", max(arguments.geometries // 2, 1))):
        problems = [Problem(name, 100 + seed) for seed in range(count)]
        note(name, "superposed atoms", means(problems, lambda one: one.guess))
        for kind, sizes in (("noise", (1e-3, 1e-4)), ("towards_guess", (0.1, 0.01))):
            large, small = (
                note(
                    name,
                    f"{kind.replace('_', ' ')} {size:g}",
                    means(problems, lambda one: getattr(one, kind)(size)),  # noqa: B023
                )
                for size in sizes
            )
            good &= falls(large, small)
        if name == "H2O":
            good &= judge_models(problems, note)
    if arguments.out is not None:
        with open(arguments.out, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([COLUMNS, *rows])
    print(f"single build: {'pass' if good else 'FAIL'}")
    return not good


def judge_models(problems: list[Problem], note: Callable) -> bool:
    """Add what has learned: polynomials on other geometries, and the network that is shipped."""
    train = [Problem("H2O", seed) for seed in range(40)]
    samples = [replace(one.sample, hamiltonian=one.hamiltonian) for one in train]
    for degree in (1, 2, 3):
        model = HamiltonianPolynomial(degree).fit(samples)
        note("H2O", f"polynomial of degree {degree}", means(problems, lambda one: predicted(model, one)))  # noqa: B023
    network = zoo.load("hamiltonian-water")
    found = note("H2O", "zoo:hamiltonian-water", means(problems, lambda one: predicted(network, one)))
    return judge_network(found)


def falls(large: np.ndarray, small: np.ndarray) -> bool:
    """Judge the errors at some error of H and at a tenth of it."""
    ratio = large / small
    return bool(min(ratio[1:3]) > ENERGIES and ratio[4] > FORCES)


def judge_network(found: np.ndarray) -> bool:
    return bool(found[2] <= NETWORK["energy"] and found[4] <= NETWORK["forces"])


def predicted(model, problem: Problem) -> np.ndarray:
    return model.predict_properties([problem.sample])[0].hamiltonian


if __name__ == "__main__":
    sys.exit(main())
