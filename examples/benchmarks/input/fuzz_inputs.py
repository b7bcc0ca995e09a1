"""Read thousands of broken and hostile files: each is used, or refused by an error of the package.

Configurations, command-line overrides, cards and weights of models, run directories and geometry
files are changed at random: bytes, words, structure, pickles in their place. Whatever is read
neither runs anything, nor writes outside its folder, nor takes more than its share of memory and
time.

Usage: python examples/benchmarks/input/fuzz_inputs.py [--cases 20000] [--seed 0] [--only KIND ...]
       python examples/benchmarks/input/fuzz_inputs.py --case KIND:NUMBER      (one again, with traceback)
Prints a table and ends non-zero if any case does something else. About an hour on one core.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import _subjects
import _watch

#: CPU seconds of one case, and bytes beyond what the process has when it begins.
SECONDS, MEMORY = 60.0, 3 << 30
#: Shares of the cases.
SHARES = {"configuration": 6, "override": 3, "card": 4, "weights": 2, "run": 2, "geometry": 3}
USED, REFUSED = "used", "refused"


class Fuzz:
    """A sandbox, the subjects, and a count of what became of their cases.

    Parameters
    ----------
    home : Path
        An empty folder; cases are written to ``case`` in it.
    runs : bool
        Run directories as well, which takes a training of each kind first.
    """

    def __init__(self, home: Path, runs: bool = True) -> None:
        self.home, self.case, self.marker = home, home / "case", home / "executed"
        # DeepChem's models make a temporary folder each, and remove it when they are collected.
        self.temporary = home / "tmp"
        self.temporary.mkdir()
        with self._temporary():
            self.subjects = _subjects.subjects(home / "good", runs)
        self.victims = {
            home / name: f"{name} stays" for name in ("victim", "victim.json", "victim.safetensors")
        }
        for path, text in self.victims.items():
            path.write_text(text)
        os.environ["DEEPCHEM_DFT_CACHE"] = str(home / "cache")
        self.watch = _watch.Watch([self.case, self.temporary, home / "cache"])
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.failures: list[str] = []

    def run(self, kind: str, number: int, seed: int = 0, debug: bool = False) -> str:
        """Make one case and read it; return what became of it."""
        shutil.rmtree(self.case, ignore_errors=True)
        self.case.mkdir()
        subject = self.subjects[kind]
        subject.mutate(random.Random(f"{seed} {kind} {number}"), self.case)
        outcome = self._outcome(subject, debug)
        self.outcomes[kind, outcome if outcome in (USED, REFUSED) else "other"] += 1
        if outcome not in (USED, REFUSED):
            self.failures.append(f"{kind}:{number}: {outcome}")
        return outcome

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[None]:
        before, tempfile.tempdir = tempfile.tempdir, str(self.temporary)
        try:
            yield
        finally:
            tempfile.tempdir = before

    def _outcome(self, subject: _subjects.Subject, debug: bool) -> str:
        from deepchem_dft.errors import DeepChemDFTError

        folder = os.getcwd()
        os.chdir(self.case)
        seen: list[str] = []
        try:
            quiet = io.StringIO()
            with (
                self._temporary(),
                self.watch.watching(SECONDS) as seen,
                warnings.catch_warnings(),
                contextlib.redirect_stdout(quiet),
                contextlib.redirect_stderr(quiet),
            ):
                warnings.simplefilter("ignore")
                subject.read(self.case)
            outcome = USED
        except DeepChemDFTError as error:
            if debug:
                print(f"{type(error).__name__}: {error}")
            outcome = REFUSED if len(str(error)) < 3000 else "an error without end"
        except (Exception, _watch.TooLong) as error:
            if debug:
                traceback.print_exc()
            last = traceback.extract_tb(error.__traceback__)[-1]
            outcome = (
                f"{type(error).__name__}: {str(error)[:200]!r} in {Path(last.filename).name}:{last.lineno}"
            )
        finally:
            os.chdir(folder)
        if seen:
            outcome = f"did {seen[0]}"
        if self.marker.exists() or (self.case / "executed").exists():
            self.marker.unlink(missing_ok=True)
            outcome = "ran code of a file"
        if any(not p.is_file() or p.read_text() != text for p, text in self.victims.items()):
            outcome = "changed a file elsewhere"
        return outcome

    def table(self) -> str:
        """Return the counts as a table."""
        lines = [f"{'kind':<14} {'cases':>7} {'used':>7} {'refused':>8} {'other':>6}"]
        for kind in [*self.subjects, "all"]:
            row = [
                sum(n for (k, o), n in self.outcomes.items() if kind in (k, "all") and o == want)
                for want in (USED, REFUSED, "other")
            ]
            lines.append(f"{kind:<14} {sum(row):>7} {row[0]:>7} {row[1]:>8} {row[2]:>6}")
        return "\n".join(lines)


def cases(total: int, kinds: list[str]) -> list[tuple[str, int]]:
    """Return so many (kind, number), kinds in turn by their shares."""
    rota = [kind for kind in kinds for _ in range(SHARES[kind])]
    counts: Counter[str] = Counter()
    found = []
    for index in range(total):
        kind = rota[index % len(rota)]
        found.append((kind, counts[kind]))
        counts[kind] += 1
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=SHARES, default=list(SHARES), metavar="KIND")
    parser.add_argument("--case", metavar="KIND:NUMBER", help="this one, with its traceback")
    options = parser.parse_args()
    import deepchem  # noqa: F401 (before memory is counted)

    from deepchem_dft import models  # noqa: F401

    with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
        if options.case:
            kind, _, number = options.case.partition(":")
            fuzz = Fuzz(Path(home), runs=kind == "run")
            print(fuzz.run(kind, int(number), options.seed, debug=True))
            return len(fuzz.failures)
        fuzz = Fuzz(Path(home), runs="run" in options.only)
        _watch.limit_memory(MEMORY)
        started = time.monotonic()
        for index, (kind, number) in enumerate(cases(options.cases, options.only)):
            if index % 1000 == 0:
                print(
                    f"  {index} cases, {time.monotonic() - started:.0f} s, {len(fuzz.failures)} failures",
                    flush=True,
                )
            known = len(fuzz.failures)
            fuzz.run(kind, number, options.seed)
            for failure in fuzz.failures[known:]:
                print(f"  {failure}", flush=True)
        print(fuzz.table())
        total = sum(fuzz.outcomes.values())
        print(f"fuzz: {total} cases, {len(fuzz.failures)} neither used nor refused")
        return int(bool(fuzz.failures))


if __name__ == "__main__":
    sys.exit(main())
