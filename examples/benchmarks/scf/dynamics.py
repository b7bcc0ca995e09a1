"""How many Fock builds does a step of dynamics take, and is the energy conserved?

Usage: python examples/benchmarks/scf/dynamics.py [--steps 200] [--system H2O --system CH3CH2OH]
           [--xc pbe --xc zoo:nn-mgga] [--basis def2-svp] [--grid-level 1] [--fit] [--keep runs/dynamics]
Velocity Verlet at constant energy, 0.5 fs a step, from velocities of 600 K, with starts foretold by
the last dozen geometries and, from the same velocities, with starts from the last density alone.
Ends non-zero unless the former takes at most 1/1.6 of the builds, with an energy drift of at most 1e-4 Ha
in 100 steps, and by no more than 1e-5 Ha beyond the other's. With --keep, what was run goes on where it was
stopped (all that is known is kept every 20 steps) and is not run again.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import units
from ase.build import molecule
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet

from deepchem_dft.files import replacing
from deepchem_dft.interop import ase as calculators
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf.guess import GuessExtrapolation
from deepchem_dft.scf.state import SCFState

FEWER, DRIFT, WORSE = 1.6, 1e-4, 1e-5
FIRST = 10  # steps until there is something to go by
EVERY = 20  # steps between two times of keeping


@dataclass
class Trajectory:
    """What a run of dynamics took: Fock builds of each step, total energies (Ha), CPU seconds."""

    builds: list[int] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def mean(self) -> float:
        return float(np.mean(self.builds[FIRST:]))

    def drift(self) -> float:
        """Return the slope of the total energy over 100 steps, Ha."""
        slope = np.polyfit(np.arange(len(self.energies)), self.energies, 1)[0]
        return 100.0 * abs(float(slope))

    def spread(self) -> float:
        """Return the standard deviation of the total energy about that slope, Ha."""
        steps = np.arange(len(self.energies))
        return float(np.std(self.energies - np.polyval(np.polyfit(steps, self.energies, 1), steps)))


class LastDensity(GuessExtrapolation):
    """Start from the last density, and from nothing else that is known."""

    def guess(self, molecule: Molecule) -> SCFState | None:
        last = self._solutions[0][2] if self._solutions else None
        return None if last is None else SCFState(last.orbitals, last.occupations)


def run(name: str, xc: str, start: type[GuessExtrapolation], arguments: argparse.Namespace) -> Trajectory:
    calculators.GuessExtrapolation = start  # type: ignore[misc]
    level, fit = arguments.grid_level, arguments.fit or None
    kept, found, atoms = _kept(name, xc, start, arguments), Trajectory(), None
    if kept is not None and kept.exists():
        atoms, found = pickle.loads(kept.read_bytes())  # our own file
    if atoms is None:
        atoms = molecule(name)
        thermalize_momenta(atoms, temperature_K=600, rng=np.random.default_rng(0))
        Stationary(atoms)
        atoms.calc = calculators.KohnShamCalculator(
            xc, basis=arguments.basis, grid_level=level, density_fit=fit
        )
    dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
    while len(found.builds) <= arguments.steps:
        begin = time.process_time()
        if found.builds:
            dynamics.run(1)
        found.energies.append(atoms.get_total_energy() / units.Hartree)
        found.builds.append(atoms.calc.result.iterations)
        found.seconds += time.process_time() - begin
        done = len(found.builds) - 1
        if done % EVERY == 0 and done:
            print(f"  {name} {xc}, {start.__name__}: {done} of {arguments.steps}", flush=True)
            if kept is not None:
                with replacing(kept) as draft:
                    draft.write_bytes(pickle.dumps((atoms, found)))
    count = arguments.steps + 1  # more may have been kept
    share = count / len(found.builds)
    return Trajectory(found.builds[:count], found.energies[:count], share * found.seconds)


def _kept(name: str, xc: str, start: Any, arguments: argparse.Namespace) -> Path | None:
    if arguments.keep is None:
        return None
    arguments.keep.mkdir(parents=True, exist_ok=True)
    fit = "_fit" if arguments.fit else ""
    settings = f"{arguments.basis}_level{arguments.grid_level}{fit}"
    return arguments.keep / f"{name}_{xc.replace(':', '-')}_{settings}_{start.__name__}.pickle"


def judge(what: str, last: Trajectory, many: Trajectory) -> bool:
    """Print and judge a pair of runs: from the last density, and from many."""
    ratio = last.mean() / many.mean()
    ok = ratio >= FEWER and many.drift() <= min(DRIFT, last.drift() + WORSE)
    print(
        f"{what}, {len(many.builds) - 1} steps: {last.mean():.2f} -> {many.mean():.2f} Fock builds a step "
        f"({ratio:.2f} times fewer), {last.seconds:.0f} -> {many.seconds:.0f} CPU seconds, drift "
        f"{last.drift():.1e} -> {many.drift():.1e} Ha in 100 steps (spread {last.spread():.1e} -> "
        f"{many.spread():.1e} Ha): {'pass' if ok else 'FAIL'}",
        flush=True,
    )
    return ok


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--system", action="append", help="a name ASE knows")
    parser.add_argument("--xc", action="append")
    parser.add_argument("--basis", default="def2-svp")
    parser.add_argument("--grid-level", type=int, default=1)
    parser.add_argument("--fit", action="store_true", help="fit densities")
    parser.add_argument("--keep", type=Path, help="folder of what has been run")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bad = 0
    for name in arguments.system or ["H2O", "CH3CH2OH"]:
        for xc in arguments.xc or ["pbe", "zoo:nn-mgga"]:
            last, many = (run(name, xc, start, arguments) for start in (LastDensity, GuessExtrapolation))
            bad += not judge(f"{name} {xc}", last, many)
    print(f"dynamics: {'FAIL' if bad else 'pass'}")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
