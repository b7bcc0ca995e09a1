"""The first minutes: wrong names, what to begin with, packages that are missing."""

import json
import subprocess
import sys

import pytest

#: Runs a command, then says what is loaded and how much processor time it took.
_CODE = """
import json, sys, time
sys.argv = ["deepchem-dft", *json.loads(sys.argv[1])]
for name in json.loads({missing!r}):
    sys.modules[name] = None  # as if it were not installed
from deepchem_dft.cli import main
status = 0
try:
    main()
except SystemExit as end:
    status = end.code or 0
heavy = [name for name in ("torch", "deepchem") if sys.modules.get(name)]
print(json.dumps([status, heavy, time.process_time()]), file=sys.stderr)
"""


def run(*arguments: str, missing: tuple[str, ...] = ()) -> tuple[str, str, int, list[str], float]:
    code = _CODE.format(missing=json.dumps(missing))
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments)], capture_output=True, text=True, check=False
    )
    *said, last = done.stderr.splitlines()
    return done.stdout, "\n".join(said), *json.loads(last)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("scf", "h2.xyz", "--xc", "zoo:nn-hybird"), "did you mean 'nn-hybrid'"),
        (("scf", "h2.xyz", "--xc", "r2scam"), "did you mean 'r2scan'"),
        (("scf", "h2.xyz", "--spin", "1"), "2 electrons cannot have spin 1"),
        (("scf", "h2.xyz", "--basis", "def2-tzpv"), "did you mean def2-tzvp"),
        (("optimize", "h3.xyz"), "h3.xyz"),
        (("reaction", "h2.xyz -> h.xyz", "--xc", "pbe"), "H 2 on the left, 1 on the right"),
        (("evaluate", "--xc", "pbee", "--dataset", "w4-11"), "did you mean 'pbe'"),
    ],
)
def test_a_mistake_is_answered_before_torch_is_loaded(files, arguments, said):
    """No clock is looked at: what takes seconds is loading torch and DeepChem."""
    out, err, status, heavy, _ = run(*arguments)
    assert (status, heavy, out) == (1, [], "") and said in err and err.startswith("error: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("data", "list"), "w4-11"),
        (("zoo", "list"), "Start with nn-hybrid"),
        (("zoo", "show", "nn-hybrid"), "# nn-hybrid"),
    ],
)
def test_lists_load_no_torch(files, arguments, said):
    out, err, status, heavy, _ = run(*arguments)
    assert (status, heavy, err) == (0, [], "") and said in out


def test_a_missing_package_is_named_with_its_extra(files):
    geometry = ("scf", "water.xyz", "--guess", "zoo:hamiltonian-water", "-q")
    _, err, status, _, _ = run(*geometry, missing=("e3nn",))
    assert status == 1
    assert err == "error: the package 'e3nn' is missing. Remedy: pip install 'deepchem_dft[hamiltonian]'"
