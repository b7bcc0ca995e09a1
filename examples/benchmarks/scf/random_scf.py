"""Do random self-consistent fields end in the ground state that other starts and programs find?

Usage: python examples/benchmarks/scf/random_scf.py [--count 2000] [--first 0] [--seed 0] [--workers 1]
           [--keep FILE.jsonl] [--only INDEX ...] [--reference FILE.jsonl ...]
Small molecules, ions, radicals and fragments up to 60 Bohr apart, with functionals from LDA to
hybrid: plain ones, untrained networks with random weights, and those of the zoo. Each is compared
with the lowest of PySCF's solutions with the same functional on the same grid, from four starting
densities and one with spins mixed, all instabilities followed: unrestricted with unrestricted,
restricted with restricted. Ends non-zero if one lies more than 1e-5 Ha higher, or calls converged
what PySCF's Fock matrix says is not.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _random_systems import GEOMETRIES, Case, functional, make
from pyscf.lib.exceptions import LinearDependencyError

from deepchem_dft.errors import DeepChemDFTError
from deepchem_dft.interop.pyscf import to_pyscf
from deepchem_dft.scf import KohnSham

# What PySCF raises in second order where no orbital can be rotated into another.
NOTHING_TO_ROTATE = (LinearDependencyError, ValueError, IndexError, ZeroDivisionError)
TOLERANCE = 1e-5  # Ha above the best of PySCF's
TOL = 1e-6  # largest occupied-virtual Fock element, Ha
STARTS = ("minao", "atom", "1e", "vsap")


def best_of_pyscf(case: Case, mf: Any) -> tuple[float, str]:
    """Lowest converged energy (Ha) of PySCF's and the start that led there.

    Where DIIS converges from none of them, second order goes on from the lowest energy met.
    """
    found, met = [], []
    for name in (*STARTS, "mixed"):
        if name == "mixed" and case.restricted:
            continue
        try:
            density = spin_mixed(mf) if name == "mixed" else mf.get_init_guess(key=name)
            solver, lowest = pyscf_solution(mf, density)
        except (np.linalg.LinAlgError, ValueError, KeyError, RuntimeError, AttributeError):
            continue  # an AttributeError where PySCF looks for LinAlgError in a place of numpy's that is gone
        if solver.converged:
            found.append((float(solver.e_tot), name, solver))
        met.append((*lowest, name))
    if not found and met:
        _, orbitals, occupations, name = min(met, key=lambda row: row[0])
        solver = second_order(mf.copy(), orbitals, occupations)
        if solver is not None:
            found.append((float(solver.e_tot), f"{name}, second order", solver))
    if not found:
        return math.inf, "none"
    energy, start, solver = min(found, key=lambda row: row[0])
    return followed(solver, energy), start


def pyscf_solution(mf: Any, density: Any) -> tuple[Any, tuple[float, Any, Any]]:
    """Solve with DIIS; return the solver and the lowest energy met, its orbitals and filling."""
    lowest = (math.inf, None, None)

    def watch(seen: dict[str, Any]) -> None:
        nonlocal lowest
        if seen["e_tot"] < lowest[0]:
            lowest = (float(seen["e_tot"]), seen["mo_coeff"], seen["mo_occ"])

    solver = mf.copy()
    solver.max_cycle, solver.callback = 25, watch
    solver.kernel(dm0=density)
    solver.callback = None
    return solver, lowest


def second_order(solver: Any, orbitals: Any, occupations: Any) -> Any:
    """Converge from orbitals, which become the solver's, or return nothing."""
    second = solver.newton()
    second.max_cycle = 25
    try:
        second.kernel(orbitals, occupations)
    except NOTHING_TO_ROTATE:
        return None
    if not second.converged:
        return None
    if not orthonormal(second):
        return None
    for name in ("mo_coeff", "mo_occ", "mo_energy", "e_tot", "converged"):
        setattr(solver, name, getattr(second, name))
    return solver


def orthonormal(solver: Any) -> bool:
    """Whether the orbitals still are: products of many rotations may gain 1e-3 electrons."""
    overlap, orbitals = solver.get_ovlp(), np.asarray(solver.mo_coeff)
    metric = np.swapaxes(orbitals, -1, -2) @ overlap @ orbitals
    return bool(np.abs(metric - np.eye(metric.shape[-1])).max() < 1e-7)


def followed(solver: Any, energy: float) -> float:
    """Follow internal instabilities downhill; return the energy (Ha) where they end."""
    for _ in range(3):
        try:
            orbitals, _, stable, _ = solver.stability(return_status=True)
        except NOTHING_TO_ROTATE:
            break
        if stable:
            break
        if second_order(solver, orbitals, solver.mo_occ) is None or solver.e_tot > energy - 1e-8:
            break
        energy = float(solver.e_tot)
    return energy


def spin_mixed(mf: Any) -> np.ndarray:
    """Density of minao's orbitals with HOMO and LUMO mixed by 45 degrees, against each other."""
    fock = mf.get_fock(dm=mf.get_init_guess(key="minao"))
    energies, orbitals = mf.eig(fock, mf.get_ovlp())
    occupations = mf.get_occ(energies, orbitals)
    turned = np.array(orbitals)
    for spin, sign in ((0, 1), (1, -1)):
        homo = int(round(occupations[spin].sum())) - 1
        if 0 <= homo < turned.shape[-1] - 1:
            h, lumo = orbitals[spin][:, homo], orbitals[spin][:, homo + 1]
            turned[spin][:, homo] = (h + sign * lumo) / np.sqrt(2)
            turned[spin][:, homo + 1] = (lumo - sign * h) / np.sqrt(2)
    return mf.make_rdm1(turned, occupations)


def solve(case: Case, known: tuple[float, str] | None = None) -> dict[str, Any]:
    """Solve a case and compare it, with the lowest energy (Ha) of PySCF's if that is known."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    clock, row = time.process_time(), asdict(case)
    try:
        result = KohnSham(case.molecule(), functional(case), restricted=case.restricted, tol=TOL).run(
            on_unconverged="continue"
        )
    except DeepChemDFTError as error:
        return {**row, "refused": str(error)}
    energy = float(result.energy.detach())
    row |= {
        "converged": result.converged,
        "energy": energy,
        "builds": result.iterations,
        "searched": result.findings.builds,
        "tried": result.findings.tried,
        "notes": list(result.findings.signs),
        "unrestricted": result.findings.unrestricted,
        "seconds": round(time.process_time() - clock, 2),
    }
    mol = result.molecule.pyscf_mol.copy()
    mol.charge, mol.spin, mol.verbose = case.charge, case.spin, 0
    mol.build(dump_input=False, parse_arg=False)
    from pyscf import dft

    mf = to_pyscf(dft.RKS(mol) if case.restricted else dft.UKS(mol), functional(case))
    mf.grids.level, mf.conv_tol, mf.verbose, mf.chkfile = case.grid_level, 1e-8, 0, None
    row["commutator"] = commutator(mf, result)
    best, start = known or best_of_pyscf(case, mf)
    row |= {
        "pyscf": best if best < math.inf else None,
        "start": start,
        "above": energy - best if best < math.inf else None,
        "total_seconds": round(time.process_time() - clock, 2),
    }
    return row


def commutator(mf: Any, result: Any) -> float:
    """Largest element (Ha) of PySCF's Fock matrices between occupied and empty orbitals."""
    orbitals = result.state.orbitals.detach().cpu().numpy()
    occupied = result.occupations.detach().cpu().numpy() > 1e-10
    density = result.density_matrix.detach().cpu().numpy()
    fock = mf.get_fock(dm=density.sum(0) if len(orbitals) == 1 else density)
    fock = np.asarray(fock).reshape(len(orbitals), *density.shape[1:])
    blocks = [c[:, f].T @ F @ c[:, ~f] for c, f, F in zip(orbitals, occupied, fock, strict=True)]
    return max((float(np.abs(b).max()) for b in blocks if b.size), default=0.0)


def verdict(row: dict[str, Any]) -> str:
    """Name what is wrong with a row, or nothing."""
    if "refused" in row:
        return "refused"
    if not row["converged"]:
        return "unconverged"
    if row["commutator"] > 1.1 * TOL:
        return "false convergence"
    if row["above"] is not None and row["above"] > TOLERANCE:
        return "too high"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="begin with this case; --count counts from 0")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="file of rows to add to, and to go on from")
    parser.add_argument(
        "--reference", type=Path, nargs="+", default=[], help="files of rows with PySCF's lowest energies"
    )
    parser.add_argument("--only", type=int, nargs="+", help="these cases alone, computed afresh")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    rows: dict[int, dict] = {}
    if options.keep and options.keep.is_file() and not options.only:
        for line in options.keep.read_text().splitlines():
            row = json.loads(line)
            rows[row["index"]] = row
    wanted = options.only or [i for i in range(options.first, options.count) if i not in rows]
    known = references(options.reference, options.seed)
    pool = None
    if options.workers > 1:
        pool = ProcessPoolExecutor(options.workers, mp_context=get_context("spawn"))
    cases = [make(i, options.seed) for i in wanted]
    lowest = [known.get(case.index) for case in cases]
    for row in pool.map(solve, cases, lowest) if pool else map(solve, cases, lowest):
        rows[row["index"]] = row
        if options.keep:
            with open(options.keep, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
        if verdict(row) or options.only:
            print(describe(row), flush=True)
    chosen = [rows[i] for i in sorted(rows) if options.only is None or i in options.only]
    return report(chosen)


def references(files: list[Path], seed: int) -> dict[int, tuple[float, str]]:
    """Read PySCF's lowest energy (Ha) and the start that led there, by case, from rows of earlier runs.

    It does not depend on how ours are looked for. Rows of other cases than this seed's are left out.
    """
    found: dict[int, tuple[float, str]] = {}
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            index, energy = row["index"], row.get("pyscf")
            same = all(row[k] == v for k, v in asdict(make(index, seed)).items())
            if same and energy is not None and energy < found.get(index, (math.inf, ""))[0]:
                found[index] = energy, row["start"]
    return found


def describe(row: dict[str, Any]) -> str:
    above = row.get("above")
    return (
        f"{verdict(row) or 'fine'}: {row['index']} {row['geometry']} {row['charge']:+d} "
        f"2S={row['spin']} {row['basis']} level {row['grid_level']} "
        f"{'restricted' if row['restricted'] else 'unrestricted'} {row['functional']} "
        + (
            f"above {above:.2e} Ha ({row['start']}), {row['builds']} builds, {row['total_seconds']} s"
            if above is not None
            else row.get("refused", "")
        )
    )


def report(rows: list[dict]) -> int:
    """Print one line for each kind of system; return the exit status."""
    kinds = [*GEOMETRIES, "all"]
    names = ("too high", "false convergence", "unconverged", "refused")
    print(
        f"{'systems':12}{'number':>8}"
        + "".join(f"{n:>19}" for n in names)
        + f"{'below PySCF':>13}{'builds':>8}{'searched':>10}{'CPU s':>8}"
    )
    failed = False
    for kind in kinds:
        part = [r for r in rows if kind in (r["kind"], "all")]
        if not part:
            continue
        counts = [sum(verdict(r) == n for r in part) for n in names]
        lower = sum(r.get("above") is not None and r["above"] < -TOLERANCE for r in part)
        solved = [r for r in part if "builds" in r]
        means = [
            sum(r[k] for r in solved) / max(len(solved), 1) for k in ("builds", "searched", "total_seconds")
        ]
        print(
            f"{kind:12}{len(part):>8}"
            + "".join(f"{c:>19}" for c in counts)
            + f"{lower:>13}{means[0]:>8.1f}{means[1]:>10.1f}{means[2]:>8.2f}"
        )
        failed |= counts[0] + counts[1] > 0
    rows = [r for r in rows if "builds" in r]
    print(
        f"{len(rows)} random self-consistent fields: "
        f"{sum(verdict(r) == 'too high' for r in rows)} above the best of PySCF's, "
        f"{sum(verdict(r) == 'false convergence' for r in rows)} falsely converged, "
        f"{sum(r['above'] is None for r in rows)} that PySCF does not converge"
    )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
