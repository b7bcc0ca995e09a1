"""Studies of trained functionals in examples/benchmarks: references, data, verdicts."""

import re
import sys
from pathlib import Path

import _one_electron as one
import _transfer_systems as far
import numpy as np
import one_electron
import pytest
import transfer
import yaml
import zoo_convergence

from deepchem_dft import zoo
from deepchem_dft.data import read_yaml
from deepchem_dft.molecule import Molecule
from deepchem_dft.runs import load_config
from deepchem_dft.scf import KohnSham
from deepchem_dft.xc.enhancement import EnhancedXC

# of the conditions on H- that are trained on
pytestmark = pytest.mark.filterwarnings("ignore:.*anions in a basis without diffuse")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def untrained(tmp_path):
    """Return the file of a functional that is r2SCAN with a quarter of exact exchange."""
    path = tmp_path / "untrained.safetensors"
    zoo.save(EnhancedXC("r2scan", hidden=[4], exchange=0.25, seed=0), path)
    return str(path)


def run(module, monkeypatch, capsys, *arguments: str) -> tuple[int, str]:
    """Run a script's main; return its status and what it printed."""
    monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
    status = module.main()
    return status, capsys.readouterr().out


def test_exact_energies_are_those_of_other_methods(tmp_path):
    exact = one.Exact(tmp_path / "exact.json")
    stretched = one.dimer("H2+", 3.0, "6-31g")
    found = KohnSham(stretched.to_molecule(0), "hf", tol=1e-8).run()
    assert exact.energy(stretched) == pytest.approx(found.energy.item(), abs=1e-10)
    # He2+ far apart is He and He+, however the charge is shared
    parts = [exact.energy(one.atom("He", n, "6-31g")) for n in ((1, 1), (1, 0))]
    assert exact.energy(one.dimer("He2+", 40.0, "6-31g")) == pytest.approx(sum(parts), abs=1e-6)
    again = one.Exact(tmp_path / "exact.json")
    assert again.energies == exact.energies and len(again.energies) == 4


def test_exact_energies_lie_on_a_convex_line():
    exact = one.Exact()
    values = exact.along("Li", "6-31g")
    assert one.deviation(values) == (pytest.approx(0, abs=1e-14), pytest.approx(0, abs=1e-14))
    ends = values[::4]
    assert ends[0] - ends[1] > ends[1] - ends[2] > 0  # ionisation energy above affinity


def test_deviation_of_a_bent_line():
    bent = [0.0, -0.3, -0.5, -0.75, -1.0, -1.25, -1.5, -1.9, -2.0]
    mean, largest = one.deviation(bent)
    assert mean == pytest.approx((0.05 + 0.15) / 6) and largest == pytest.approx(0.15)


def test_the_data_file_is_what_the_script_writes(tmp_path):
    stored = ROOT / "examples" / "zoo" / "data" / "one-electron.yaml"
    text = one.training_data("def2-svp", one.Exact())
    number = re.compile(r"value: (-?[\d.]+)")
    assert number.sub("", text) == number.sub("", stored.read_text())
    for made, kept in zip(number.findall(text), number.findall(stored.read_text()), strict=True):
        assert float(made) == pytest.approx(float(kept), abs=1e-7)
    kinds = [e.entry_type for e in read_yaml(str(stored))]
    assert {k: kinds.count(k) for k in kinds} == {"energy": 5, "fractional_charge": 12, "fractional_spin": 1}


def test_twins_differ_in_the_conditions_alone():
    folder = ROOT / "examples" / "zoo"
    pair = [yaml.safe_load((folder / f"{n}.yaml").read_text()) for n in one_electron.TWINS]
    for config in pair:
        config.pop("name"), config.pop("description")
    train = pair[0]["data"]["train"]
    assert [ref for ref in train if "file" in ref] == [
        {"file": "data/one-electron.yaml", "basis": "def2-svp", "label": "conditions"}
    ]
    pair[0]["data"]["train"] = [ref for ref in train if "file" not in ref]
    assert pair[0] == pair[1]
    for name in one_electron.TWINS:
        load_config(folder / f"{name}.yaml")
    # what is tested is not what is trained on
    trained = {e.name for e in read_yaml(str(folder / "data" / "one-electron.yaml"))}
    assert not {f"H2+ at {r:g}" for r in one.CURVES["H2+"][3]} & trained


@pytest.fixture
def short(monkeypatch):
    """Leave of the curves one of two points, and return options for little work."""
    curves = {"H2+": ("H", (1, 0), [(1, 0), (0, 0)], (2.0, 10.0))}
    for module in (one, one_electron):
        monkeypatch.setattr(module, "CURVES", curves)
    return ["--basis", "sto-3g", "--grid-level", "0", "--atoms", "H"]


def rows_of(text: str) -> dict[str, list[float]]:
    """Return the first table of a script by row."""
    rows = {}
    for line in text.split("Largest")[0].splitlines():
        name, *cells = [c.strip() for c in line.strip("| ").split("|")]
        if cells and re.fullmatch(r"[\d.]+", cells[0]):
            rows[name] = [float(c) for c in cells]
    return rows


def test_exact_exchange_takes_its_share_of_the_delocalisation(monkeypatch, capsys, short, untrained):
    status, text = run(one_electron, monkeypatch, capsys, *short, "--xc", "r2scan", "--xc", untrained)
    assert status == 0
    rows = rows_of(text)
    for wrong, better in zip(rows["r2scan"], rows["untrained"], strict=True):
        assert better == pytest.approx(0.75 * wrong, rel=0.1) and wrong > 10


@pytest.mark.slow
def test_twins_are_judged_and_drawn(monkeypatch, capsys, tmp_path, short, untrained):
    options = [*short, "--keep", str(tmp_path / "kept.jsonl"), "--plots", str(tmp_path)]
    status, text = run(one_electron, monkeypatch, capsys, *options, "--twins", untrained, "r2scan")
    assert status == 1 and text.count("FAIL") == 2  # 0.75 is more than a half
    status, text = run(one_electron, monkeypatch, capsys, *options, "--twins", "hf", "r2scan")
    assert status == 0 and text.count("  pass  ") == 2
    assert all((tmp_path / f"twins_{kind}.png").is_file() for kind in ("curves", "lines"))


def test_convergence_counts_builds_and_systems(monkeypatch, capsys, tmp_path, untrained):
    options = [
        "--basis",
        "sto-3g",
        "--dataset",
        "atomic-ip",
        "--max-electrons",
        "3",
        "--keep",
        str(tmp_path / "kept.jsonl"),
        "--xc",
        untrained,
    ]
    status, text = run(zoo_convergence, monkeypatch, capsys, *options)
    assert status == 0 and "6 systems" in text and "12 of 12 converged" in text
    monkeypatch.setattr(zoo_convergence, "RATIO", 0.1)
    assert run(zoo_convergence, monkeypatch, capsys, *options)[0] == 1


def test_far_systems_are_what_they_are_called():
    for name, formula in (("benzene", "C6H6"), ("naphthalene", "C10H8")):
        geometry, parts = far.LARGE[name]
        molecule = Molecule(geometry, "sto-3g", unit="angstrom")
        assert molecule.formula == formula
        assert {s: molecule.symbols.count(s) for s in parts} == parts
        distances = np.linalg.norm(molecule.positions[:, None] - molecule.positions, axis=-1)
        closest = distances[distances > 0].min() * 0.529177
        assert 1.07 < closest < 1.09
    # spins of neutral atom and cation differ by the one electron that left
    for _, neutral, cation in {**far.ATOMS, **far.METALS}.values():
        assert abs(neutral - cation) == 1
    # Ruscic and Bross, Active Thermochemical Tables: D_0 of HBr 86.65, of Br2 45.44 kcal/mol
    assert far.BONDS["HBr"][3] == pytest.approx(86.65 + 3.76 + 3.51, abs=0.1)
    assert far.BONDS["Br2"][3] == pytest.approx(45.44 + 0.46 + 7.02, abs=0.1)


def test_transfer_names_what_did_not_converge(monkeypatch, capsys, untrained):
    monkeypatch.setattr(transfer, "BASELINES", ["pbe"])
    monkeypatch.setattr(transfer, "ATOMS", {"He": (24.58739, 0, 1)})
    monkeypatch.setattr(transfer, "BONDS", {})
    monkeypatch.setattr(transfer, "SPINS", {"H": 1, "Br": 1})
    monkeypatch.setattr(transfer.Study, "atoms", lambda self, symbols: {})
    options = ["elements", "--basis", "6-31g", "--xc", untrained]
    monkeypatch.setattr(transfer, "elements", lambda study: transfer.ionisation(study, transfer.ATOMS, ""))
    monkeypatch.setitem(transfer.PARTS, "elements", transfer.elements)
    status, text = run(transfer, monkeypatch, capsys, *options)
    assert status == 0 and "pass  all converge" in text
    assert abs(float(text.split("| pbe")[1].split("|")[1])) < 1.0  # eV
