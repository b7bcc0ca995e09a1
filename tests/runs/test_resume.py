"""A run that is killed goes on to the numbers of one that was not."""

import csv
import multiprocessing
import os
import signal

import pytest
import torch

from deepchem_dft import KohnSham, Molecule
from deepchem_dft.fitting.progress import Reporter
from deepchem_dft.runs import load_config, load_functional, run
from deepchem_dft.units import HARTREE_TO_KCAL

from .conftest import write_run


class Killer(Reporter):
    """Ends this very process with SIGKILL after an epoch, or amidst the solutions of a phase."""

    def __init__(self, when: int | str) -> None:
        self.when, self.now = when, ""

    def epoch(self, row) -> None:
        self._die_if(row["epoch"] == self.when)

    def phase(self, title, total=None) -> None:
        self.now = title

    def solution(self, solution, done, total) -> None:
        self._die_if(self.now == self.when and 2 * done >= total)

    def _die_if(self, due: bool) -> None:
        if due:
            os.kill(os.getpid(), signal.SIGKILL)


def run_and_die(config, folder, when) -> None:
    from deepchem_dft.runs.xc import train

    train.CHECKPOINT_SECONDS = 0.0  # a checkpoint after every frozen epoch
    run(config, folder, reporter=when if isinstance(when, Reporter) else Killer(when))


def kill_during(when, config, folder) -> None:
    # fork: the child needs no second import of everything, and shares nothing it could harm.
    child = multiprocessing.get_context("fork").Process(target=run_and_die, args=(config, folder, when))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def history(folder) -> list[tuple[float, ...]]:
    with open(folder / "history.csv", newline="") as stream:
        keys = ("epoch", "loss", "train_mae_kcal", "valid_mae_kcal")
        return [tuple(float(row[key]) for key in keys) for row in csv.DictReader(stream)]


def assert_trained_alike(folder, other):
    for ours, theirs in zip(history(folder), history(other), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-10, rel=1e-10)
    resumed = load_functional(folder).state_dict()
    for name, value in load_functional(other).state_dict().items():
        assert torch.allclose(resumed[name], value, rtol=0, atol=1e-10), name


@pytest.mark.parametrize("when", [4, 6, 7, 9, "training", "evaluating"])
def test_killed_run_resumes_exactly(finished, tmp_path, when):
    """Kills within (4) and at the end (6) of the frozen stage, in the scf stage (7) and after it
    (9), and amidst the solving that begins training and evaluation."""
    config, uninterrupted = finished
    folder = tmp_path / "run"
    kill_during(when, config, folder)

    result = run(config, folder, resume=True)
    assert_trained_alike(folder, uninterrupted.directory.path)
    for ours, theirs in zip(result.records, uninterrupted.records, strict=True):
        assert (ours.functional, ours.entry) == (theirs.functional, theirs.entry)
        assert ours.value == pytest.approx(theirs.value, rel=0, abs=1e-10)


RECIPE = {
    "functional": {"xc": "pbe", "enhancement": {"hidden": [4]}, "exchange": 0.2},
    "training": {
        "penalties": {"size": 0.1, "roughness": 1.0e-4},
        "stages": [
            {"mode": "frozen", "epochs": 4, "optimizer": "lbfgs", "repeat": 2},
            {"mode": "scf", "epochs": 1},
        ],
    },
    "baselines": {},
    "evaluation": {"sets": ["train"], "processes": 1},
    "output": {"plots": False, "h2_curve": False},
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A finished run of an enhanced hybrid, trained by L-BFGS: (configuration, folder)."""
    folder = tmp_path_factory.mktemp("recipe")
    config = load_config(write_run(folder, **RECIPE))
    run(config, folder / "run")
    return config, folder / "run"


@pytest.mark.parametrize("when", [2, 6])
def test_lbfgs_resumes_exactly(recipe, tmp_path, when):
    """Within the first stage, and within the second at the functional's own densities."""
    config, complete = recipe
    folder = tmp_path / "run"
    kill_during(when, config, folder)
    run(config, folder, resume=True)
    assert_trained_alike(folder, complete)


@pytest.mark.parametrize(
    "parent, exchange, name",
    [("pbe", 0.2, "0.8*gga_x_pbe+0.2*hf,gga_c_pbe"), ("lda", None, "lda,pw_mod"), ("PBE", 0.0, "pbe")],
)
def test_first_stage_starts_at_the_parent(tmp_path, parent, exchange, name):
    """The first errors are those of libxc, self-consistently, correlation and all."""
    functional = {"xc": parent, "enhancement": {"hidden": [4]}, "exchange": exchange}
    stage = {"mode": "frozen", "epochs": 1, "optimizer": "lbfgs"}
    run(
        load_config(
            write_run(
                tmp_path,
                **{
                    **RECIPE,
                    "functional": functional,
                    "training": {"stages": [stage]},
                    "evaluation": {"sets": [], "processes": 1},
                },
            )
        ),
        tmp_path / "run",
    )
    h2, h, he, ion = (
        float(
            KohnSham(Molecule(geometry, "sto-3g", charge=charge, spin=spin, grid_level=1), name).run().energy
        )
        for geometry, charge, spin in (
            ("H 0 0 0; H 0 0 1.4", 0, 0),
            ("H 0 0 0", 0, 1),
            ("He 0 0 0", 0, 0),
            ("He 0 0 0", 1, 1),
        )
    )
    errors = (2 * h - h2) * HARTREE_TO_KCAL - 109.5, (ion - he) * HARTREE_TO_KCAL - 567.07
    assert history(tmp_path / "run")[0][2] == pytest.approx(sum(map(abs, errors)) / 2, abs=0.01)


def test_interrupt_leaves_something_to_go_on_from(finished, tmp_path):
    """Ctrl-C in the self-consistent stage."""
    config, uninterrupted = finished

    class Interrupter(Reporter):
        def epoch(self, row) -> None:
            if row["epoch"] == 8:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "run", reporter=Interrupter())
    assert not (tmp_path / "run" / "results.md").exists()
    run(config, tmp_path / "run", resume=True)
    ours, theirs = history(tmp_path / "run"), history(uninterrupted.directory.path)
    assert sum(ours, ()) == pytest.approx(sum(theirs, ()), abs=1e-10)


def test_overrides_reach_the_run(tiny, tmp_path):
    config = load_config(tiny, ["training.epochs=2", "output.plots=false", "baselines=[]"])
    run(config, tmp_path / "run")
    assert len(history(tmp_path / "run")) == 2
