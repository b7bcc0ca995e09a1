"""How many Fock builds does a step of dynamics take, and is the energy conserved?

Usage: python examples/benchmarks/scf/dynamics.py [--steps 200] [--molecule H2O --molecule CH3CH2OH]
           [--xc pbe --xc zoo:nn-mgga] [--basis def2-svp] [--grid-level 1]
Velocity Verlet at constant energy, 0.5 fs a step, from velocities of 600 K, with starts foretold by
the last dozen geometries and, from the same velocities, with starts from the last density alone.
Ends non-zero unless the former takes at most 1/1.6 of the builds, with an energy drift of at most 1e-4 Ha
in 100 steps, and by no more than 1e-5 Ha beyond the other's.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch
from ase import units
from ase.build import molecule
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet

from deepchem_dft.interop import ase as calculators
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf.guess import GuessExtrapolation
from deepchem_dft.scf.state import SCFState

FEWER, DRIFT, WORSE = 1.6, 1e-4, 1e-5
FIRST = 10  # steps until there is something to go by


@dataclass
class Trajectory:
    """What a run of dynamics took: Fock builds of each step, total energies (Ha), CPU seconds."""

    builds: list[int]
    energies: list[float]
    seconds: float

    def mean(self) -> float:
        return float(np.mean(self.builds[FIRST:]))

    def drift(self) -> float:
        """Return the slope of the total energy over 100 steps, Ha."""
        slope = np.polyfit(np.arange(len(self.energies)), self.energies, 1)[0]
        return 100.0 * abs(float(slope))


class LastDensity(GuessExtrapolation):
    """Start from the last density, and from nothing else that is known."""

    def guess(self, molecule: Molecule) -> SCFState | None:
        last = self._solutions[0][2] if self._solutions else None
        return None if last is None else SCFState(last.orbitals, last.occupations)


def run(name: str, xc: str, start: type[GuessExtrapolation], arguments: argparse.Namespace) -> Trajectory:
    calculators.GuessExtrapolation = start  # type: ignore[misc]
    atoms = molecule(name)
    thermalize_momenta(atoms, temperature_K=600, rng=np.random.default_rng(0))
    Stationary(atoms)
    atoms.calc = calculators.KohnShamCalculator(xc, basis=arguments.basis, grid_level=arguments.grid_level)
    found = Trajectory([], [], time.process_time())
    dynamics = VelocityVerlet(atoms, 0.5 * units.fs)

    def note() -> None:
        found.energies.append(atoms.get_total_energy() / units.Hartree)
        found.builds.append(atoms.calc.result.iterations)
        done = len(found.builds)
        if done % 50 == 0:
            print(f"  {name} {xc}, {start.__name__}: {done} of {arguments.steps}", flush=True)

    dynamics.attach(note)
    dynamics.run(arguments.steps)
    found.seconds = time.process_time() - found.seconds
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--molecule", action="append")
    parser.add_argument("--xc", action="append")
    parser.add_argument("--basis", default="def2-svp")
    parser.add_argument("--grid-level", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bad = 0
    for name in arguments.molecule or ["H2O", "CH3CH2OH"]:
        for xc in arguments.xc or ["pbe", "zoo:nn-mgga"]:
            last, many = (run(name, xc, start, arguments) for start in (LastDensity, GuessExtrapolation))
            ratio = last.mean() / many.mean()
            ok = ratio >= FEWER and many.drift() <= min(DRIFT, last.drift() + WORSE)
            bad += not ok
            print(
                f"{name} {xc}: {last.mean():.2f} -> {many.mean():.2f} Fock builds a step ({ratio:.2f} times "
                f"fewer), {last.seconds / many.seconds:.2f} times less CPU time, drift {last.drift():.1e} -> "
                f"{many.drift():.1e} Ha in 100 steps: {'pass' if ok else 'FAIL'}",
                flush=True,
            )
    print(f"dynamics: {'FAIL' if bad else 'pass'}")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
