"""One Fock matrix of benzene with what functionals see beyond single points, on one thread.

Usage: python examples/benchmarks/xc/nonlocal_cost.py [--basis NAME] [--rounds N] [--pyscf]
CPU seconds (the least of N rounds, all in one process) of a Fock matrix with r2SCAN and with NNNonlocal on
r2SCAN (default options, random weights); and with wB97M-V, with and without its VV10, for grids of VV10
of several levels. --pyscf times PySCF's VV10 beside it, which takes minutes on finer grids. Ends non-zero
unless NNNonlocal takes at most 3 times as long as r2SCAN, and VV10 on its default grid at most half of
wB97M-V's Fock matrix.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn

from deepchem_dft import Molecule
from deepchem_dft.molecule.integrals import grids_of_level
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.xc import Libxc, NNNonlocal, XCFunctional, get_xc
from deepchem_dft.xc.nonlocality.vv10 import GRID_LEVEL

#: Most time of NNNonlocal relative to r2SCAN, and most share of VV10 in wB97M-V's Fock matrix.
TIMES, SHARE = 3.0, 0.5
CARBON, HYDROGEN = 1.3915, 2.4715  # Angstrom from the centre


def benzene(basis: str) -> Molecule:
    """Return benzene on a grid of level 3."""
    corners = ((1, 0), (0.5, 0.866025), (-0.5, 0.866025), (-1, 0), (-0.5, -0.866025), (0.5, -0.866025))
    atoms = [f"{s} {r * x} {r * y} 0" for s, r in (("C", CARBON), ("H", HYDROGEN)) for x, y in corners]
    return Molecule("; ".join(atoms), basis, unit="angstrom", grid_level=3, name="benzene")


def orbitals(molecule: Molecule) -> tuple[Tensor, Tensor]:
    """Return orbitals and occupations of one step from atomic densities."""
    h = KSHamiltonian(molecule, get_xc("pbe"))
    fock = h.evaluate_matrix(
        molecule.starting_density.reshape(-1, molecule.nao, molecule.nao).sum(0)[None]
    ).fock
    values, vectors = torch.linalg.eigh(h.overlap)
    half = vectors @ torch.diag(values.rsqrt()) @ vectors.T
    occupations = torch.zeros(1, molecule.nao, dtype=torch.float64)
    occupations[0, : int(sum(molecule.nelec)) // 2] = 2.0
    return (half @ torch.linalg.eigh(half @ fock[0] @ half)[1])[None], occupations


def seconds(molecule: Molecule, xc: XCFunctional, state: tuple[Tensor, Tensor], rounds: int) -> float:
    """Return CPU seconds of a Fock matrix, after one that makes what is kept."""
    h = KSHamiltonian(molecule, xc)
    h.evaluate(*state)
    return min(_timed(lambda: h.evaluate(*state)) for _ in range(rounds))


def _timed(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def pyscf_seconds(molecule: Molecule, state: tuple[Tensor, Tensor], level: int | str) -> float:
    """Return CPU seconds of PySCF's energy and matrix of VV10."""
    from pyscf import dft

    field = dft.RKS(molecule.pyscf_mol, xc="wb97m-v")
    field.nlcgrids = grids_of_level(field.mol, None if level == GRID_LEVEL else level)
    field.nlcgrids.build(with_non0tab=True)
    orbitals, occupations = state
    density = ((orbitals * occupations[:, None]) @ orbitals.mT)[0].numpy()
    numint = field._numint
    return _timed(lambda: numint.nr_nlc_vxc(field.mol, field.nlcgrids, "wb97m-v", density))


def main() -> int:
    """Print both tables; return 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--basis", default="def2-tzvp")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--levels", type=int, nargs="*", default=[0, 1], help="beside the default")
    parser.add_argument("--pyscf", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    molecule = benzene(options.basis)
    state = orbitals(molecule)
    r2scan = seconds(molecule, get_xc("r2scan"), state, options.rounds)
    network = seconds(molecule, NNNonlocal("r2scan", zero_last=False, seed=0), state, options.rounds)
    print(f"benzene, {options.basis}, {molecule.nao} orbitals, {molecule.grid.size} points; CPU seconds")
    times = network / r2scan
    print(f"r2SCAN {r2scan:.2f}, NNNonlocal on it {network:.2f}: {times:.2f} times (at most {TIMES:g})")
    missed = times > TIMES
    bare = Libxc("wb97m-v")
    bare.vv10 = nn.ModuleList()
    rest = seconds(molecule, bare, state, options.rounds)
    print(f"wB97M-V without VV10 {rest:.2f}; with VV10 on a grid of")
    for level in (GRID_LEVEL, *options.levels):
        whole = seconds(molecule, Libxc("wb97m-v", vv10_level=level), state, options.rounds)
        share = 1.0 - rest / whole
        text = f"  level {level}: {whole:.2f}, share of VV10 {share:.2f}"
        if level == GRID_LEVEL:
            missed |= share > SHARE
            text += f" (at most {SHARE:g})"
        if options.pyscf:
            text += f"; PySCF's VV10 alone {pyscf_seconds(molecule, state, level):.2f}"
        print(text, flush=True)
    print(f"bounds {'missed' if missed else 'held'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
