"""Aspirin from the command line: how soon it speaks, and processor time beside PySCF's own hybrid meta-GGA.

Usage: python examples/benchmarks/scf/aspirin.py [--xc zoo:nn-hybrid] [--beside tpssh] [--basis def2-svp]

Both are processes of one thread, imports included, with density fitting, the same grid level, and orbital
gradients converged alike (what each reached is printed). Ends non-zero unless the first line is there within
5 CPU seconds, there is a line for every iteration, and all of it costs at most 1.3 times PySCF's CPU.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SMILES = "CC(=O)Oc1ccccc1C(=O)O"
FIRST, RATIO = 5.0, 1.3  # CPU seconds; of PySCF's
GRID_LEVEL = 3
PYSCF = """
import json, sys, time
import numpy as np
from pyscf import dft, gto
geometry, basis, xc, level = sys.argv[1:]
mol = gto.M(atom=geometry, unit="angstrom", basis=basis, verbose=0)
field = dft.RKS(mol, xc=xc).density_fit()
field.grids.level, field.conv_tol, field.conv_tol_grad = int(level), 1e-9, 1e-5
cycles = []
field.callback = lambda seen: cycles.append(seen["norm_gorb"])
field.kernel()
largest = np.abs(field.get_grad(field.mo_coeff, field.mo_occ)).max() / 2
print(json.dumps([field.e_tot, bool(field.converged), len(cycles), float(largest), time.process_time()]))
"""


def cpu_of(process: int) -> float:
    """Return the CPU seconds of a process that runs, its finished children included."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def ours(folder: Path, xc: str, basis: str, environment: dict[str, str]) -> dict[str, float]:
    """Run the command; return what it says and takes."""
    command = [sys.executable, "-m", "deepchem_dft", "scf", "aspirin.xyz", "--xc", xc, "--basis", basis]
    process = subprocess.Popen(
        [*command, "--grid-level", str(GRID_LEVEL)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None and process.stdout is not None
    lines = [process.stderr.readline()]
    first = cpu_of(process.pid)
    lines += process.stderr.readlines()
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("".join(lines))
    found = re.search(r"after (\d+) iterations \(orbital gradient (\S+) Ha\)", said)
    energy = re.search(r"energy: +(\S+) Ha", said)
    assert found and energy
    return {
        "first": first,
        "lines": sum(bool(re.match(r" *\d+ +-\d", line)) for line in lines),
        "iterations": int(found[1]),
        "residual": float(found[2]),
        "energy": float(energy[1]),
        "cpu": usage.ru_utime + usage.ru_stime,
    }


def main() -> int:
    """Run both; return 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--xc", default="zoo:nn-hybrid")
    parser.add_argument("--beside", default="tpssh", help="functional of PySCF's own")
    parser.add_argument("--basis", default="def2-svp")
    options = parser.parse_args()
    from deepchem_dft.data.properties.conformers import from_smiles

    atoms = from_smiles(SMILES)
    rows = [f"{s} {x:.8f} {y:.8f} {z:.8f}" for s, (x, y, z) in zip(atoms.symbols, atoms.positions)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "aspirin.xyz").write_text("\n".join([str(len(rows)), "aspirin", *rows]) + "\n")
        environment = os.environ | {"OMP_NUM_THREADS": "1", "DEEPCHEM_DFT_CACHE": str(folder / "cache")}
        root = str(Path(__file__).resolve().parents[3])
        environment["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        mine = ours(folder, options.xc, options.basis, environment)
        call = [sys.executable, "-c", PYSCF, "; ".join(rows), options.basis, options.beside, str(GRID_LEVEL)]
        done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    energy, converged, cycles, largest, cpu = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{options.xc}: {mine['energy']:.6f} Ha, {mine['iterations']:.0f} iterations, orbital gradient "
        f"{mine['residual']:.1e} Ha, {mine['cpu']:.1f} CPU s; first line after {mine['first']:.1f} CPU s, "
        f"{mine['lines']:.0f} lines of iterations"
    )
    print(
        f"PySCF {options.beside}: {energy:.6f} Ha, {cycles} cycles, orbital gradient {largest:.1e} Ha, "
        f"{cpu:.1f} CPU s{'' if converged else ', NOT converged'}"
    )
    ratio = mine["cpu"] / cpu
    every = (
        mine["lines"] >= mine["iterations"] - 1
    )  # the first Fock build makes the orbitals of the first line
    good = mine["first"] <= FIRST and every and ratio <= RATIO and converged
    print(
        f"aspirin/{options.basis}: first line after {mine['first']:.1f} CPU s (bound {FIRST:g}), "
        f"{ratio:.2f} times PySCF's CPU (bound {RATIO:g})"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
