"""Draw the figures of README and docs anew: ``make figures``.

Usage: python examples/figures.py [NAME ...] [--runs DIR] [--out DIR] [--list] [--ready]

Each is drawn by a run or a script of this repository, in the style of ``deepchem_dft.figures``. What a
run needs is computed once: runs that are finished in the folder of the runs are drawn from what they
have kept, others are trained, which for some takes hours. ``--list`` says what belongs to what and
which runs are there; ``--ready`` draws those whose runs are, and leaves the others as they are.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"


@dataclass(frozen=True)
class Source:
    """Where figures come from.

    Attributes
    ----------
    command : tuple of str
        Of Python; ``{runs}`` and ``{drawn}`` are the folders of runs and of what was drawn.
    figures : dict
        Name in the docs to the file that the command writes, from the folder of the runs on if it
        begins with ``{runs}``, of what was drawn otherwise.
    run : str
        What is there in the folder of the runs once the work is done; empty if it takes minutes.
    """

    command: tuple[str, ...]
    figures: dict[str, str]
    run: str = ""


def _run(config: str, name: str, **figures: str) -> Source:
    """Return the source of figures from the folder ``plots`` of a run."""
    words = "import sys; from deepchem_dft.cli import main; sys.argv[0] = 'deepchem-dft'; main()"
    command = ("-c", words, "train", config, "--resume", "--run-dir", f"{{runs}}/{name}")
    return Source(command, {k: f"{{runs}}/{name}/plots/{v}.png" for k, v in figures.items()}, name)


def _script(path: str, *arguments: str, run: str = "", figures: tuple[str, ...]) -> Source:
    return Source((path, *arguments), {name: f"{name}.png" for name in figures}, run)


_BENCHMARKS = "examples/benchmarks"
_ONE_ELECTRON = f"{_BENCHMARKS}/xc/one_electron.py"
_HAMILTONIAN = f"{_BENCHMARKS}/models/hamiltonian.py"
SOURCES = [
    _run(
        "examples/train_pbe_mgga.yaml",
        "train_pbe_mgga",
        main_job_errors="error_by_molecule",
        main_job_h2_curve="h2_curve",
    ),
    _run("examples/zoo/nn-hybrid.yaml", "nn-hybrid", zoo_hybrid_errors="error_by_molecule"),
    _run("examples/zoo/nn-hybrid-ensemble.yaml", "nn-hybrid-ensemble", calibration="calibration"),
    _run("examples/paper/ie_lda.yaml", "paper_ie_lda", paper_ie_lda="error_by_molecule"),
    _run("examples/paper/h2_curve.yaml", "paper_h2_curve", paper_h2_curve="h2_curve"),
    Source(
        ("examples/paper/l1_vs_l2.py", "--out", "{runs}/paper_l1_vs_l2"),
        {"paper_l1_vs_l2": "{runs}/paper_l1_vs_l2/l1_vs_l2.png"},
        "paper_l1_vs_l2",
    ),
    _run("examples/ksr/h2_global.yaml", "h2_global", ksr_h2_global="curve_h2"),
    _run("examples/ksr/h2_h4.yaml", "h2_h4", ksr_trajectory_h4="trajectory_h4"),
    _script(
        "examples/ksr/figures.py",
        "--runs",
        "{runs}",
        "--out",
        "{drawn}",
        run="h2_direct",
        figures=("ksr_h2_functionals", "ksr_transfer"),
    ),
    _script(
        "examples/ksr/training_size.py",
        "--runs",
        "{runs}/training_size",
        "--out",
        "{drawn}/ksr_training_size.png",
        run="training_size",
        figures=("ksr_training_size",),
    ),
    _script("examples/dft_and_deq.py", "--out", "{drawn}/dft_and_deq.png", figures=("dft_and_deq",)),
    _run("examples/hamiltonian/mixed.yaml", "mixed", hamiltonian_unseen="orbitals_unseen"),
    _script(
        _HAMILTONIAN,
        "forms",
        "noise",
        "--runs",
        "{runs}/hamiltonian",
        "--out",
        "{drawn}",
        run="hamiltonian",
        figures=("hamiltonian_forms", "hamiltonian_noise"),
    ),
    _script(
        _ONE_ELECTRON,
        "--keep",
        "{runs}/one_electron.jsonl",
        "--plots",
        "{drawn}",
        run="one_electron.jsonl",
        figures=("one_electron_curves", "one_electron_lines"),
    ),
    _script(
        _ONE_ELECTRON,
        "--twins",
        "--keep",
        "{runs}/one_electron.jsonl",
        "--plots",
        "{drawn}",
        run="constrained",
        figures=("twins_curves", "twins_lines"),
    ),
    _script(
        f"{_BENCHMARKS}/training/scaling.py",
        "--basis",
        "6-31g*",
        "--plot",
        "{drawn}/scaling_alkanes.png",
        figures=("scaling_alkanes",),
    ),
]


def draw(source: Source, runs: Path, out: Path) -> None:
    """Run what draws some figures, and put them where the docs have them."""
    drawn = runs / "figures"
    drawn.mkdir(parents=True, exist_ok=True)
    places = {"runs": str(runs), "drawn": str(drawn)}
    subprocess.run(
        [sys.executable, *(word.format(**places) for word in source.command)], cwd=ROOT, check=True
    )
    for name, file in source.figures.items():
        shutil.copyfile(drawn / file.format(**places), out / f"{name}.png")
        print(f"drawn: {out / name}.png", flush=True)


def main() -> None:
    """Draw the figures that were asked for."""
    known = [name for source in SOURCES for name in source.figures]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="figures; default: all")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images", help="folder of the figures")
    parser.add_argument("--list", action="store_true", help="say what there is, and draw nothing")
    parser.add_argument("--ready", action="store_true", help="only those whose runs are there")
    options = parser.parse_args()
    if unknown := set(options.names) - set(known):
        parser.error(f"there is no figure {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    runs = options.runs.resolve()
    for source in SOURCES:
        there = not source.run or (runs / source.run).exists()
        if options.list:
            print(f"{', '.join(source.figures)}: {source.run or 'minutes'}{'' if there else ' (not there)'}")
        elif (not options.names or set(options.names) & set(source.figures)) and (there or not options.ready):
            draw(source, runs, options.out.resolve())


if __name__ == "__main__":
    main()
