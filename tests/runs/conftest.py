"""A data set and a configuration small enough to train in a second."""

import csv
from pathlib import Path

import pytest
import yaml

DATA = """
format: deepchem_dft/1
name: tiny
defaults: {basis: sto-3g, unit: bohr}
systems:
  h2: {geometry: "H 0 0 0; H 0 0 1.4"}
  lih: {geometry: "Li 0 0 0; H 0 0 3.0"}
entries:
- {name: "tiny:H2", type: ae, value: 109.5 kcal/mol, molecule: h2, atoms: auto, split: train}
- {name: "tiny:LiH", type: ae, value: 57.7 kcal/mol, molecule: lih, atoms: auto, split: valid}
- name: "tiny:He"
  type: ie
  value: 24.59 eV
  neutral: {geometry: He 0 0 0}
  cation: {geometry: He 0 0 0, charge: 1, spin: 1}
  split: train
  tags: {noble: true}
- name: "tiny:Li"
  type: ie
  value: 5.39 eV
  neutral: {geometry: Li 0 0 0, spin: 1}
  cation: {geometry: Li 0 0 0, charge: 1, spin: 0}
  split: test
"""

CONFIG = {
    "name": "tiny",
    "data": {
        "grid_level": 1,
        **{role: [{"file": "data.yaml", "split": role}] for role in ("train", "valid", "test")},
    },
    "functional": {"xc": "pbe", "network": {"family": "mgga", "hidden": [6], "max_output": 0.3}},
    "training": {
        "stages": [
            {"mode": "frozen", "epochs": 6, "learning_rate": 0.01},
            {"mode": "scf", "epochs": 3, "learning_rate": 0.001},
        ]
    },
    "baselines": {"lda": "lda,pw", "pbe": "pbe"},
    "evaluation": {"processes": 1, "baseline_sets": ["train", "valid", "test"]},
    "output": {"h2_curve": {"points": 3, "basis": "sto-3g"}},
}


def write_run(folder: Path, **changes) -> Path:
    """Write data and configuration; ``changes`` replace whole sections."""
    (folder / "data.yaml").write_text(DATA)
    return write_config(folder, {**CONFIG, **changes})


def write_config(folder: Path, config: dict) -> Path:
    """Write a configuration and nothing else."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Path of a configuration whose data lie beside it."""
    return write_run(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run: (configuration, result)."""
    from deepchem_dft.runs import load_config, run

    folder = tmp_path_factory.mktemp("finished")
    config = load_config(write_run(folder))
    return config, run(config, folder / "run")


def rows_of(path: Path) -> list[dict[str, str]]:
    """Read a table."""
    return list(csv.DictReader(Path(path).read_text().splitlines()))


def assert_is_whole(result, *plots: str) -> None:
    """A finished run has all its files, and these figures with something in them."""
    folder = result.directory.path
    assert result.directory.status["state"] == "finished"
    sizes = {p.stem: p.stat().st_size for p in (folder / "plots").iterdir()}
    assert sizes.keys() == set(plots) and min(sizes.values()) > 10_000
    for name in ("config.yaml", "versions.json", "data.json", "log.txt", "results.csv"):
        assert (folder / name).is_file()


def assert_goes_on_after_a_kill(config, straight, folder: Path, epoch: int) -> None:
    """Kill a run after an epoch: it is not begun again by mistake, and goes on to the same tables."""
    from deepchem_dft.errors import InputError
    from deepchem_dft.fitting.progress import Reporter
    from deepchem_dft.runs import run

    class Killing(Reporter):
        def epoch(self, row):
            if row["epoch"] == epoch:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config, folder, reporter=Killing())
    with pytest.raises(InputError, match="unfinished"):
        run(config, folder)
    again = run(config, folder, resume=True)
    losses = [[row["loss"] for row in rows_of(done.directory / "history.csv")] for done in (again, straight)]
    assert losses[0] == losses[1] and len(losses[0]) > epoch
    tables = [(done.directory / "results.csv").read_text() for done in (again, straight)]
    assert tables[0] == tables[1]
    assert [r.value for r in again.records] == [r.value for r in straight.records]
