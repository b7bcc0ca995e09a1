"""What the studies of trained functionals share: which functionals, tables, a quiet solver."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deepchem_dft import zoo
from deepchem_dft.cli.common import functional_from_run
from deepchem_dft.scf.solutions import Functional


def zoo_functionals() -> list[str]:
    """Return ``zoo:NAME`` of every functional of molecules in the zoo."""
    return [f"zoo:{name}" for name in zoo.names() if zoo.card(name).kind == "functional"]


def add_options(parser: argparse.ArgumentParser, basis: str, grid_level: int) -> None:
    """Add what all studies can be told."""
    parser.add_argument(
        "--xc",
        action="append",
        metavar="NAME",
        help="a libxc name, zoo:NAME, a file, a run directory; may be repeated "
        "(default: every functional of the zoo)",
    )
    parser.add_argument("--basis", default=basis)
    parser.add_argument("--grid-level", type=int, default=grid_level)
    parser.add_argument("--jobs", type=int, default=1, help="worker processes")
    parser.add_argument("--keep", type=Path, help="file of solutions to go on from; of this study alone")


def functionals(names: Sequence[str] | None, before: Sequence[str] = ()) -> list[Functional]:
    """Return functionals by name, each once, those of ``before`` first.

    A run directory stands for what was trained there, by the name of the folder.
    """
    chosen = {}
    for name in [*before, *(zoo_functionals() if names is None else names)]:
        if (Path(name) / "config.yaml").is_file():
            label = Path(name).resolve().name
            chosen[label] = Functional.trained(functional_from_run(Path(name)), label)
        else:
            label = name.removeprefix("zoo:") if name.startswith("zoo:") else Path(name).stem
            chosen[label] = Functional.named(name, label)
    if not chosen:
        raise SystemExit("the zoo has no functional yet: name some by --xc")
    return list(chosen.values())


def relabelled(functional: Functional, label: str) -> Functional:
    """Return the same functional under another name."""
    return replace(functional, label=label)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; the first column is text, the others are figures."""
    cells = [[str(c) for c in row] for row in [heads, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]

    def line(row: Sequence[str]) -> str:
        padded = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]
        return "| " + " | ".join(padded) + " |"

    rule = (
        "|:" + "|".join("-" * (w + 1) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    )
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])])


class Verdicts:
    """Checks that are printed one by one and end the script non-zero if one fails."""

    def __init__(self) -> None:
        self.failed = 0

    def check(self, label: str, good: bool, text: str) -> None:
        """Print one line."""
        self.failed += not good
        print(f"  {'pass' if good else 'FAIL'}  {label}: {text}")
