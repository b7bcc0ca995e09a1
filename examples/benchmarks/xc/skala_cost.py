"""One evaluation of Skala's energy and potential: this package beside the skala package, one thread.

Both get the same fresh network in the same precision, the same grid and the same density matrix. A process
for each of the two, so that the memory of one is not the other's. Ends non-zero if the bound is missed.

    python examples/benchmarks/xc/skala_cost.py [water benzene aspirin]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

#: Times the package's speed, at least.
BOUND = 1.5
#: Angstrom.
MOLECULES = {
    "water": "O 0 0 0.117; H 0 0.757 -0.470; H 0 -0.757 -0.470",
    "benzene": "; ".join(
        f"{s} {r * x:.5f} {r * y:.5f} 0"
        for s, r in (("C", 1.3915), ("H", 2.4715))
        for x, y in ((1, 0), (0.5, 0.866025), (-0.5, 0.866025), (-1, 0), (-0.5, -0.866025), (0.5, -0.866025))
    ),
}
SMILES = {"aspirin": "CC(=O)Oc1ccccc1C(=O)O"}


def geometry(name: str) -> str:
    """Atoms of a molecule, Angstrom."""
    if name in MOLECULES:
        return MOLECULES[name]
    from rdkit import Chem
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSmiles(SMILES[name]))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    AllChem.MMFFOptimizeMolecule(molecule)
    places = molecule.GetConformer().GetPositions()
    return "; ".join(f"{a.GetSymbol()} {x} {y} {z}" for a, (x, y, z) in zip(molecule.GetAtoms(), places))


def measure(program: str, name: str, basis: str, level: int) -> dict:
    """CPU seconds, peak memory (MB) and energy (Ha) of one evaluation, after one to warm up."""
    import torch
    from pyscf import gto, lib
    from skala.functional import SkalaFunctional

    torch.set_num_threads(1)
    lib.num_threads(1)
    torch.manual_seed(0)
    network = SkalaFunctional().double()
    mol = gto.M(atom=geometry(name), basis=basis, verbose=0)
    from pyscf import scf

    density = scf.hf.init_guess_by_minao(mol)
    if program == "skala":
        from skala.pyscf import SkalaKS

        mf = SkalaKS(mol, network, with_dftd3=False)
        mf.grids.level = level
        mf.grids.build()

        def evaluate() -> float:
            return mf._numint.nr_rks(mol, mf.grids, None, density)[1]
    else:
        from deepchem_dft import Molecule
        from deepchem_dft.interop.skala import SkalaXC
        from deepchem_dft.scf.hamiltonian import KSHamiltonian

        molecule = Molecule(geometry(name), basis, unit="angstrom", grid_level=level)
        h = KSHamiltonian(molecule, SkalaXC(network))
        matrix = torch.from_numpy(density)[None]

        def evaluate() -> float:
            rho = h.density_of_matrix(matrix)
            energy, potential, _ = h.xc_potential(rho)
            h.matrix_of_potential(potential)
            return energy

    evaluate()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.process_time()
    energy = evaluate()
    return {"seconds": time.process_time() - start, "memory": before, "energy": float(energy)}


def main() -> int:
    """Print the table; return 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("molecules", nargs="*", default=["water", "benzene", "aspirin"])
    parser.add_argument("--basis", default="def2-svp")
    parser.add_argument("--grid-level", type=int, default=2)
    parser.add_argument("--one", choices=("ours", "skala"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.molecules[0], options.basis, options.grid_level)))
        return 0
    columns = ["skala, CPU s", "here, CPU s", "times faster", "skala, MB", "here, MB", "difference, Ha"]
    print(f"| molecule, {options.basis}, level {options.grid_level} | " + " | ".join(columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    failed = False
    for name in options.molecules or ["water", "benzene", "aspirin"]:
        found = {}
        for program in ("skala", "ours"):
            command = [
                sys.executable,
                "-W",
                "ignore",
                __file__,
                name,
                "--one",
                program,
                "--basis",
                options.basis,
            ]
            command += ["--grid-level", str(options.grid_level)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[program] = json.loads(done.stdout.splitlines()[-1])
        theirs, ours = found["skala"], found["ours"]
        faster = theirs["seconds"] / ours["seconds"]
        failed |= faster < BOUND or ours["memory"] > theirs["memory"]
        print(
            f"| {name} | {theirs['seconds']:.2f} | {ours['seconds']:.2f} | {faster:.2f} "
            f"| {theirs['memory']:.0f} | {ours['memory']:.0f} | {ours['energy'] - theirs['energy']:.1e} |",
            flush=True,
        )
    print(f"at least {BOUND} times faster, in no more memory: {'missed' if failed else 'reached'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
