"""One electron at two nuclei, and fractions of electrons: where semilocal functionals fail.

Usage: python examples/benchmarks/xc/one_electron.py [--xc NAME ...] [--keep FILE.jsonl]
           [--plots FOLDER] [--twins [CONSTRAINED UNCONSTRAINED]] [--data FILE.yaml]
Curves of H2+ and He2+ relative to their fragments, and E(N) of atoms between whole numbers of
electrons, of PBE, r2SCAN and the functionals of the zoo, against full CI in the same basis.
--twins trains examples/zoo/constrained.yaml and unconstrained.yaml (or takes two runs or files) and
ends non-zero unless the constrained one has at most 0.3 times the deviation of its twin, in each
kind of test. --data writes what the constrained one is trained on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from _one_electron import ATOMS, CURVES, Exact, atom, deviation, dimer, line, training_data
from _zoo_studies import Verdicts, add_options, functionals, relabelled, table

from deepchem_dft.cli.common import load_deepchem, solution_progress
from deepchem_dft.molecule.geometry import NUCLEAR_CHARGE
from deepchem_dft.runs.drawing import MARKERS, formula
from deepchem_dft.scf.many import Solver
from deepchem_dft.scf.solutions import Functional
from deepchem_dft.units import HARTREE_TO_EV, HARTREE_TO_KCAL

if TYPE_CHECKING:
    from deepchem_dft.data import DFTSystem

ROOT = Path(__file__).resolve().parents[3]
TWINS = ("constrained", "unconstrained")
#: Most deviation of the constrained functional, relative to its twin.
SHARE = 0.3


@dataclass
class Tested:
    """What one functional gives.

    Attributes
    ----------
    curves : dict of array
        Energy relative to the fragments by curve, Ha; NaN where not converged.
    lines : dict of list
        Energies along E(N) by atom, Ha.
    """

    curves: dict[str, np.ndarray] = field(default_factory=dict)
    lines: dict[str, list[float]] = field(default_factory=dict)


def fragments(name: str, basis: str) -> list[DFTSystem | None]:
    """Return the atoms a molecule falls into; None for bare nuclei."""
    symbol, _, electrons, _ = CURVES[name]
    return [atom(symbol, n, basis) for n in electrons]


def compute(chosen: Sequence[Functional], atoms: Sequence[str], options) -> dict[str, Tested]:
    """Solve everything; return results by functional, ``exact`` first."""
    basis = options.basis
    points = {n: [dimer(n, r, basis) for r in CURVES[n][3]] for n in CURVES}
    parts = {n: fragments(n, basis) for n in CURVES}
    along = {s: [atom(s, n, basis) for n in line(s)] for s in atoms}
    systems = [s for group in (*points.values(), *parts.values(), *along.values()) for s in group]
    molecules = {s.key: s.to_molecule(options.grid_level) for s in systems if s is not None}
    with Solver(options.jobs, cache=options.keep) as solver, solution_progress("solving") as show:
        solved = solver.solve([(m, chosen) for m in molecules.values()], on_solution=show)

    def results(energy) -> Tested:
        tested = Tested()
        for name in CURVES:
            apart = sum(energy(s) for s in parts[name])
            tested.curves[name] = np.array([energy(s) - apart for s in points[name]])
        for symbol in atoms:
            tested.lines[symbol] = [energy(s) for s in along[symbol]]
        return tested

    def of(functional: Functional):
        return lambda s: 0.0 if s is None else solved[molecules[s.key].key, functional.key].energy

    exact = Exact(None if options.keep is None else options.keep.with_suffix(".exact.json"))
    truth = Tested(lines={s: exact.along(s, basis) for s in atoms})
    for name in CURVES:
        apart = sum(exact.energy(s) for s in parts[name])
        truth.curves[name] = np.array([exact.energy(s) - apart for s in points[name]])
    return {"exact": truth, **{f.label: results(of(f)) for f in chosen}}


def numbers(results: Mapping[str, Tested]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return mean and largest deviations (kcal/mol) by functional and test."""
    truth, out = results["exact"], {}
    for label, tested in results.items():
        if label == "exact":
            continue
        row = {}
        for name, values in tested.curves.items():
            errors = abs(values - truth.curves[name]) * HARTREE_TO_KCAL
            row[name] = (float(errors.mean()), float(errors.max()))
        each = [deviation(v) for v in tested.lines.values()]
        row["E(N)"] = (
            float(np.mean([m for m, _ in each])) * HARTREE_TO_KCAL,
            float(max(m for _, m in each)) * HARTREE_TO_KCAL,
        )
        for symbol, (mean, largest) in zip(tested.lines, each):
            row[f"E(N) of {symbol}"] = (mean * HARTREE_TO_KCAL, largest * HARTREE_TO_KCAL)
        out[label] = row
    return out


def draw(results: Mapping[str, Tested], folder: Path, stem: str) -> None:
    """Draw curves and lines against the exact ones."""
    import matplotlib.pyplot as plt

    plt.style.use("deepchem_dft.figures")
    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(1, len(CURVES), figsize=(9.6, 3.8), squeeze=False)
    axes = axes[0]
    for axis, (name, (*_, distances)) in zip(axes, CURVES.items()):
        for label, look in looks(results):
            axis.plot(distances, results[label].curves[name] * HARTREE_TO_KCAL, label=label, **look)
        axis.set(title=formula(name), xlabel="R (Bohr)")
    axes[0].set(ylabel="energy relative to the\nfragments (kcal/mol)")
    _save(figure, axes[0], folder / f"{stem}_curves.png")
    atoms = list(results["exact"].lines)
    figure, grid = plt.subplots(2, len(atoms), figsize=(2.5 * len(atoms), 5.4), sharex="col", squeeze=False)
    for column, symbol in enumerate(atoms):
        count = [sum(n) for n in line(symbol)]
        neutral = count.index(NUCLEAR_CHARGE[symbol])
        for label, look in looks(results):
            values = np.array(results[label].lines[symbol])
            grid[0][column].plot(count, (values - values[neutral]) * HARTREE_TO_EV, label=label, **look)
            ends = values[::4]
            straight = np.interp(count, count[::4], ends)
            grid[1][column].plot(count, (values - straight) * HARTREE_TO_KCAL, **look)
        grid[0][column].set(title=symbol)
        grid[1][column].set(xlabel="electrons")
    grid[0][0].set(ylabel="E(N) - E(neutral) (eV)")
    grid[1][0].set(ylabel="deviation from a\nstraight line (kcal/mol)")
    _save(figure, grid[0][0], folder / f"{stem}_lines.png")
    print(f"written: {folder / stem}_curves.png, {folder / stem}_lines.png")


def _save(figure, axis, path: Path) -> None:
    """Write a figure with one legend for all its panels, below them."""
    handles, labels = axis.get_legend_handles_labels()
    rows = -(-len(labels) // 5)
    inch = 0.25 * rows / figure.get_figheight()
    figure.tight_layout(rect=(0, inch, 1, 1))
    figure.legend(handles, labels, loc="lower center", ncol=5, fontsize=8)
    figure.savefig(path)


def looks(results: Mapping[str, Tested]):
    """Yield labels and how each is drawn."""
    for index, label in enumerate(results):
        if label == "exact":
            yield label, {"color": "black", "linewidth": 2.0, "alpha": 0.7}
        else:
            yield (
                label,
                {
                    "color": f"C{(index - 1) % 6}",
                    "marker": MARKERS[(index - 1) % 7],
                    "linestyle": "-" if index < 7 else "--",
                    "markersize": 3,
                    "linewidth": 1.1,
                },
            )


def trained_twin(name: str) -> str:
    """Return the run directory of one of the twins, trained now if it is not yet."""
    from deepchem_dft.fitting.progress import Reporter
    from deepchem_dft.runs import load_config, run

    config = load_config(ROOT / "examples" / "zoo" / f"{name}.yaml")
    folder = ROOT / "runs" / config.name
    if not (folder / "results.csv").is_file():
        print(f"training {name} ...", flush=True)
        run(config, folder, resume=True, reporter=Reporter())
    return str(folder)


def compare(found: Mapping[str, Mapping[str, tuple[float, float]]], verdicts: Verdicts) -> None:
    """Check the constrained functional against its twin."""
    better, twin = (found[name] for name in TWINS)
    ratios = {test: better[test][0] / twin[test][0] for test in (*CURVES, "E(N)")}
    for test, ratio in ratios.items():
        verdicts.check(
            f"{test}, constrained / unconstrained",
            ratio <= SHARE,
            f"{better[test][0]:.2f} / {twin[test][0]:.2f} kcal/mol = {ratio:.2f} (wanted <= {SHARE})",
        )
    print("constrained / unconstrained: " + ", ".join(f"{t} {r:.2f}" for t, r in ratios.items()))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, "def2-svp", 3)
    parser.add_argument("--atoms", nargs="+", default=["H", "He", "Li", "C", "F"], choices=ATOMS)
    parser.add_argument("--plots", type=Path, help="folder for two figures")
    parser.add_argument(
        "--twins",
        nargs="*",
        metavar="XC",
        help="the two of examples/zoo, or two of your own: constrained, unconstrained",
    )
    parser.add_argument("--data", type=Path, help="write the training data of 'constrained'")
    options = parser.parse_args()
    if options.data is not None:
        options.data.write_text(training_data(options.basis, Exact()), encoding="utf-8")
        print(f"written: {options.data}")
        return 0
    if options.twins not in (None, []) and len(options.twins) != 2:
        parser.error("--twins takes two functionals, or none for those of examples/zoo")
    load_deepchem()
    stem, before = "one_electron", ["pbe", "r2scan"]
    if options.twins is not None:
        pair = options.twins or [trained_twin(name) for name in TWINS]
        chosen = functionals(options.xc or [], before)
        chosen += [relabelled(functionals([x])[0], name) for x, name in zip(pair, TWINS)]
        stem = "twins"
    else:
        chosen = functionals(options.xc, before)
    results = compute(chosen, options.atoms, options)
    found = numbers(results)
    tests = list(next(iter(found.values())))
    print(
        "Mean deviation from exact (curves) and from straight lines (E(N)), kcal/mol; "
        f"{options.basis}, full CI is exact:\n"
    )
    print(
        table(
            ["functional", *tests],
            [[label, *(f"{row[t][0]:.2f}" for t in tests)] for label, row in found.items()],
        )
    )
    print("\nLargest, kcal/mol:\n")
    print(
        table(
            ["functional", *tests],
            [[label, *(f"{row[t][1]:.2f}" for t in tests)] for label, row in found.items()],
        )
    )
    verdicts = Verdicts()
    for label, row in found.items():
        if not np.isfinite([v for pair in row.values() for v in pair]).all():
            verdicts.check(label, False, "not everything converged")
    if options.plots is not None:
        draw(results, options.plots, stem)
    if options.twins is not None:
        compare(found, verdicts)
    return 1 if verdicts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
