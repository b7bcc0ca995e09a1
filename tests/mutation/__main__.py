"""Do the tests notice wrong lines? ``python -m tests.mutation``, or ``make mutants``.

Mutants come from cosmic-ray's operators, and from one that makes a number with a point a tenth
smaller. A sample is drawn per place with a fixed seed. Each mutant is written into a copy of the
tree and meets the tests that run its line, the quickest first, in a process forked from one that
has PyTorch, PySCF and DeepChem in memory; the first failure ends it.
"""

import argparse
import compileall
import gc
import hashlib
import importlib
import json
import os
import py_compile
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["MPLBACKEND"] = "Agg"

import pytest  # noqa: E402
from cosmic_ray.ast import ast_nodes, get_ast  # noqa: E402
from cosmic_ray.mutating import mutate_code  # noqa: E402

from .operators import operators  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
#: Where to mutate, and the tests that meet the mutants besides the examples in the files.
PLACES = {
    "xc": (
        "deepchem_dft/xc",
        [
            "tests/xc",
            "tests/zoo/test_pins.py",
            "tests/scf/frozen/test_binned_densities.py",
            "tests/scf/test_enhancement.py",
        ],
    ),
    "scf": ("deepchem_dft/scf", ["tests/scf"]),
    "zoo": (
        "deepchem_dft/zoo",
        [f"tests/zoo/test_{name}.py" for name in ("cards", "forms", "models", "registry", "shipped")],
    ),
    "calibration": ("deepchem_dft/runs/xc/calibration.py", ["tests/runs/test_calibration.py"]),
}
_HEAVY = (
    "torch",
    "numpy",
    "scipy.optimize",
    "scipy.stats",
    "scipy.fft",
    "scipy.sparse.csgraph",
    "pyscf.dft",
    "pyscf.gto",
    "pyscf.scf",
    "pyscf.df",
    "deepchem",
    "hypothesis",
    "yaml",
    "pydantic",
    "typer",
    "rich",
    "safetensors.torch",
    "matplotlib.pyplot",
    "e3nn",
    "h5py",
)
_IDENTITY = ("place", "file", "line", "operator", "occurrence", "digest")


def mutants(tree: Path, place: str, count: int, seed: int, names: list[str] | None) -> list[dict[str, Any]]:
    """Draw a place's mutants, in the order of their lines; of files of some names, if given."""
    source = tree / PLACES[place][0]
    files = [source] if source.is_file() else sorted(source.rglob("*.py"))
    files = [file for file in files if names is None or file.name in names]
    found = []
    for file in files:
        code, state = file.read_text("utf-8"), digest(file)
        nodes = list(ast_nodes(get_ast(code)))
        for name, operator in operators().items():
            positions = ((start, node) for node in nodes for start, _ in operator.mutation_positions(node))
            found += [
                {
                    "place": place,
                    "file": str(file.relative_to(tree)),
                    "line": line,
                    "operator": name,
                    "occurrence": number,
                    "digest": state,
                }
                for number, ((line, _), node) in enumerate(positions)
                if node.parent is None or node.parent.type != "parameters"
            ]  # f(a, *, b)
    print(f"{place}: {len(found)} mutants, {min(count, len(found))} are drawn", flush=True)
    random.Random(seed).shuffle(found)
    return sorted(found[:count], key=lambda m: (m["file"], m["line"]))


# -- a copy of the tree, and pytest in a child ---------------------------------------------------


def copied(folder: Path) -> Path:
    """Copy what git knows of, and compile it so that a changed source is always seen."""
    tree = folder / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    compileall.compile_dir(
        tree / "deepchem_dft", quiet=1, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH
    )
    return tree


def digest(*paths: Path) -> str:
    """Return what tells whether any Python file there has changed."""
    files = [f for p in paths for f in ([p] if p.is_file() else sorted(p.rglob("*.py")))]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:12]


class Choice:
    """Pytest plugin: run some tests only, in the order given; note how long each takes."""

    def __init__(self, wanted: list[str] | None, cover: Any = None, most: int | None = None) -> None:
        self.order = None if wanted is None else {name: k for k, name in enumerate(wanted)}
        self.most = most
        self.cover, self.seconds = cover, Counter()
        self.failed: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.order is not None:
            items[:] = sorted(
                (i for i in items if i.nodeid in self.order), key=lambda item: self.order[item.nodeid]
            )
        if self.most is not None:
            seen = Counter()
            for item in list(items):
                name = item.nodeid.split("[")[0]
                seen[name] += 1
                if seen[name] > self.most:
                    items.remove(item)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.before = time.process_time()
        if self.cover is not None:
            self.cover.switch_context(nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.seconds[nodeid] = time.process_time() - self.before

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed.append(report.nodeid)


def in_child(tree: Path, job: Any, seconds: int) -> int:
    """Run a job in a forked process in the copy; return its exit status, negative of a signal."""
    temporary = tree.parent / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    child = os.fork()
    if child == 0:
        status = 99
        try:
            with open(tree.parent / "log.txt", "w") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
            os.chdir(tree)
            os.environ.update(PYTHONPATH=str(tree), TMPDIR=str(temporary))
            sys.path[:] = [str(tree), *(p for p in sys.path if p not in ("", str(ROOT)))]
            for name in [n for n in sys.modules if n.split(".")[0] == "tests"]:
                del sys.modules[name]
            status = job()
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_pytest(paths: list[str], plugin: Choice, *options: str) -> int:
    return int(
        pytest.main(
            ["-q", "-p", "no:cacheprovider", "-p", "no:unraisableexception", *options, *paths],
            plugins=[plugin],
        )
    )


def mapped(tree: Path, place: str, most: int | None) -> dict[str, Any]:
    """Return which test runs which line, and how long (CPU s); from a file if it is there."""
    source, tests = PLACES[place]
    state = digest(tree / source, *(tree / test for test in tests))
    file = tree.parent / f"map-{place}-{state}.json"
    if file.is_file():
        return json.loads(file.read_text())

    def job() -> int:
        from coverage import Coverage

        inside = tree / source if source.endswith(".py") else tree / source / "*"
        cover = Coverage(data_file=None, include=[str(inside)], config_file=False)
        plugin = Choice(None, cover, most)
        cover.start()
        run_pytest([*tests, source], plugin)
        cover.stop()
        data = cover.get_data()
        lines = {str(Path(f).relative_to(tree)): data.contexts_by_lineno(f) for f in data.measured_files()}
        assert lines, f"no test runs {source}"
        for name in plugin.failed:
            plugin.seconds.pop(name, None)
        file.write_text(json.dumps({"seconds": plugin.seconds, "lines": lines, "failed": plugin.failed}))
        return 0

    if in_child(tree, job, 3600) != 0:
        raise SystemExit(f"the tests of {place} could not be run: see {tree.parent}/log.txt")
    found = json.loads(file.read_text())
    for name in found["failed"]:
        print(f"left out, as it fails without a mutant: {name}", flush=True)
    return found


def tests_of(mutant: dict[str, Any], known: dict[str, Any], code: str) -> list[str]:
    """Return the tests that run a line, else its function; outside functions those of the file."""
    lines = {int(k): set(v) - {""} for k, v in known["lines"].get(mutant["file"], {}).items()}
    found = lines.get(mutant["line"], set())
    if not found:
        scopes = [
            n
            for n in ast_nodes(get_ast(code))
            if n.type == "funcdef" and n.start_pos[0] <= mutant["line"] <= n.end_pos[0]
        ]
        start, end = (scopes[-1].start_pos[0], scopes[-1].end_pos[0]) if scopes else (0, 10**9)
        # The line of a def runs when the file is imported, by whatever test comes first.
        found = set().union(*(t for k, t in lines.items() if start < k <= end))
    return sorted(found & known["seconds"].keys(), key=known["seconds"].get)


def tested(mutant: dict[str, Any], tree: Path, known: dict[str, Any], budget: float) -> dict[str, Any]:
    """Return a mutant with its outcome, after so many seconds of tests at most."""
    code = (tree / mutant["file"]).read_text("utf-8")
    changed = mutate_code(code, operators()[mutant["operator"]], mutant["occurrence"])
    before, after = code.splitlines(), changed.splitlines()
    pairs = [(a, b) for a, b in zip(before, after) if a != b]
    if len(after) < len(before):  # a decorator that is gone
        pairs = [(before[mutant["line"] - 1], "")]
    old, new = (" ".join(part.split()) for part in pairs[0])
    tests, usual = [], 0.0
    for test in tests_of(mutant, known, code):
        usual += known["seconds"][test]
        if usual <= budget or not tests:
            tests.append(test)
    (tree / mutant["file"]).write_text(changed, "utf-8")
    killer = tree.parent / "killer.txt"
    killer.write_text("")

    def job() -> int:
        plugin = Choice(tests)
        status = run_pytest(sorted({t.split("::")[0] for t in tests}), plugin, "-x", "--tb=no")
        killer.write_text("".join(plugin.failed[:1]))
        return status

    begun = time.monotonic()
    try:
        status = in_child(tree, job, int(20 + 5 * min(usual, budget))) if tests else 0
    finally:
        (tree / mutant["file"]).write_text(code, "utf-8")
    outcome = "survived" if status == 0 else "killed"
    by = killer.read_text() or {-signal.SIGXCPU: "time"}.get(status, f"status {status}")
    return {
        **mutant,
        "old": old,
        "new": new,
        "outcome": outcome,
        "by": by if status else "",
        "tests": len(tests),
        "seconds": round(time.monotonic() - begun, 1),
    }


# -- what came of it -----------------------------------------------------------------------------


def equivalent() -> dict[tuple[str, str, str], str]:
    """Return mutants that compute the same, with the reason: (file, line before, after)."""
    with open(Path(__file__).with_name("equivalent.toml"), "rb") as stream:
        listed = tomllib.load(stream)
    return {(m["file"], m["old"], m["new"]): m["reason"] for m in listed.get("mutant", [])}


def report(results: list[dict[str, Any]]) -> None:
    """Print survivors, and a table."""
    same = equivalent()
    for r in results:
        key = r["file"], r["old"], r["new"]
        if r["outcome"] == "survived" and key in same:
            r["outcome"] = "equivalent"
        if r["outcome"] == "survived":
            print(
                f"\n{r['file']}:{r['line']} ({r['operator']}; {r['tests']} tests)\n"
                f"  - {r['old']}\n  + {r['new']}"
            )
    print("\nplace          mutants  killed  equivalent  survived  killed of those that differ")
    for place in [*PLACES, "all"]:
        count = Counter(r["outcome"] for r in results if place in (r["place"], "all"))
        differ = count["killed"] + count["survived"]
        if differ:
            print(
                f"{place:<13}{count.total():>9}{count['killed']:>8}{count['equivalent']:>12}"
                f"{count['survived']:>10}{100 * count['killed'] / differ:>26.1f} %"
            )


def main() -> None:
    """Draw, test, report."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--places", nargs="+", choices=PLACES, default=list(PLACES))
    parser.add_argument("--count", type=int, default=70, help="mutants of each place")
    parser.add_argument("--files", nargs="+", help="names of files there; default all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder",
        type=Path,
        default=ROOT / "runs" / "mutants",
        help="for the copy of the tree and the results; a run goes on there",
    )
    parser.add_argument("--cases", type=int, help="of every test at most so many; default all")
    parser.add_argument(
        "--budget", type=float, default=300.0, help="CPU seconds of tests for one mutant, the quickest first"
    )
    parser.add_argument("--again", action="store_true", help="test survivors once more")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "results.jsonl"
    known = [json.loads(row) for row in file.read_text().splitlines()] if file.is_file() else []
    done = {tuple(r[name] for name in _IDENTITY): r for r in known}
    tree = copied(folder)
    sys.path.insert(0, str(tree))
    for name in _HEAVY:
        importlib.import_module(name)
    gc.freeze()  # children would copy all pages only to count
    results = []
    for place in options.places:
        chosen = mutants(tree, place, options.count, options.seed, options.files)
        lines = mapped(tree, place, options.cases)
        for number, mutant in enumerate(chosen, 1):
            key = tuple(mutant[name] for name in _IDENTITY)
            if key not in done or (options.again and done[key]["outcome"] == "survived"):
                done[key] = tested(mutant, tree, lines, options.budget)
                with open(file, "a") as stream:
                    stream.write(json.dumps(done[key]) + "\n")
                r = done[key]
                print(
                    f"{place} {number}/{len(chosen)}: {r['outcome']} in {r['seconds']} s, "
                    f"{r['file']}:{r['line']} {r['new'][:60]} {r['by'][-60:]}",
                    flush=True,
                )
            results.append(done[key])
    report(results)


if __name__ == "__main__":
    main()
