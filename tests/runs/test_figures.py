"""Figures of runs: what is drawn once, left apart, marked, and called what."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from deepchem_dft.runs import drawing, plots
from deepchem_dft.runs.ksr import plots as ksr_plots
from deepchem_dft.runs.tables import EntryRecord
from deepchem_dft.runs.xc.curves import Curve
from deepchem_dft.units import HARTREE_TO_KCAL


def record(functional, entry, kcal, role="test", name="w4-11"):
    return EntryRecord(functional, role, name, entry, "ae", 0.1, 0.1 + kcal / HARTREE_TO_KCAL)


@pytest.fixture
def drawn(monkeypatch):
    """Figures as they are when they are written."""
    figures: list[Figure] = []
    monkeypatch.setattr(drawing, "save", lambda figure, path: figures.append(figure))
    return figures


def points(axis, label):
    """Offsets of the dots with a label, (x, y) each."""
    found = [c.get_offsets() for c in axis.collections if c.get_label() == label]
    return np.concatenate(found).tolist() if found else []


def test_a_molecule_of_two_sets_is_drawn_once_and_training_rows_are_apart(drawn):
    records = [
        record("trained", "w4-11:h2o", 1.0),
        record("trained", "w4-11:h2o", 1.0, name="w4-11 single-reference"),
        record("trained", "w4-11:ch4", -2.0),
        record("trained", "w4-11:n2", 0.5, role="train"),
    ]
    plots.error_by_molecule(records, "x.png", trained="nn-hybrid")
    test, train = drawn[0].axes
    assert sorted(points(test, "nn-hybrid")) == pytest.approx(np.array([[-2.0, 0], [1.0, 1]]))
    assert [t.get_text() for t in test.get_yticklabels()] == ["CH₄", "H₂O"]
    assert points(train, "nn-hybrid") == pytest.approx(np.array([[0.5, 0]]))
    assert [t.get_text() for t in train.get_yticklabels()] == ["N₂"]
    assert "trained on" in train.get_title() and "trained" not in drawn[0].legends


def test_one_bad_functional_does_not_squeeze_the_others(drawn):
    errors = {"trained": 1.0, "PBE": 4.0, "B3LYP": 3.0, "LDA": 60.0}
    plots.error_by_molecule([record(name, "w4-11:n2", kcal) for name, kcal in errors.items()], "x.png")
    (axis,) = drawn[0].axes
    assert axis.get_xlim()[1] < 10
    assert not points(axis, "LDA")
    ((x, _),) = points(axis, "LDA: off the scale")
    assert x == axis.get_xlim()[1]


def test_all_functionals_alike_are_all_on_the_scale(drawn):
    plots.error_by_molecule([record(n, "w4-11:n2", e) for n, e in (("a", 60.0), ("b", 50.0))], "x.png")
    (axis,) = drawn[0].axes
    assert points(axis, "a") and points(axis, "b")


def test_the_kept_epoch_is_the_best_of_the_last_stage(drawn):
    scores = [(0, 1.0), (0, 3.0), (1, 2.5), (1, 2.0), (1, 2.2)]
    history = [
        {"epoch": k, "stage": stage, "loss": 1.0, "valid_mae_kcal": score, "valid_score": score}
        for k, (stage, score) in enumerate(scores, 1)
    ]
    plots.learning_curve(history, "x.png", selected=True)
    plots.learning_curve(history, "x.png")
    chosen, unchosen = ([line.get_label() for line in figure.axes[1].get_lines()] for figure in drawn)
    assert "kept: epoch 4" in chosen and not any("kept" in label for label in unchosen)
    drawn[0].canvas.draw()
    assert all(float(x).is_integer() for axis in drawn[0].axes for x in axis.get_xticks())


def test_ten_seeds_are_told_apart_and_the_chosen_one_is_marked(drawn):
    history = [
        {"seed": seed, "epoch": k, "loss": 1.0 + seed, "valid_mae_kcal": 9.0 - seed, "best": 1}
        for seed in range(10)
        for k in (1, 2)
    ]
    history[-1]["best"] = 0
    ksr_plots.learning_curve(history, "x.png")
    left, right = drawn[0].axes
    looks = {(line.get_color(), line.get_linestyle()) for line in left.get_lines()}
    assert len(looks) == 10
    assert "kept: seed 9, epoch 1" in [line.get_label() for line in right.get_lines()]


def test_the_users_own_figures_are_left_alone(tmp_path):
    """Drawing neither changes matplotlib's backend nor its settings, nor loads pyplot."""
    code = f"""if 1:
        import matplotlib, sys
        matplotlib.use("svg")
        before = dict(matplotlib.rcParams)
        from deepchem_dft.runs.drawing import drawing
        with drawing(r"{tmp_path / "x.png"}") as axes:
            axes[0, 0].plot([1, 2])
        assert dict(matplotlib.rcParams) == before
        assert "matplotlib.pyplot" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_the_style_sheet_is_one_that_users_can_name():
    with matplotlib.style.context(drawing.STYLE):
        assert len(matplotlib.rcParams["axes.prop_cycle"]) == len(drawing.MARKERS)


def test_notes_of_a_curve_are_said_once_for_many_points():
    note = "an unrestricted solution lies {} Ha below this restricted one, at {} Ha"
    curve = Curve(
        "H 0 0 0; H 0 0 {R}",
        "bohr",
        [1.0, 4.0, 6.0],
        {"pbe": [-1.0, -0.9, -0.9]},
        notes={"pbe": [[], [note.format(0.01, -0.91)], [note.format(0.05, -0.95)]]},
    )
    (line,) = [line for line in curve.text().splitlines() if line.startswith("NOTE")]
    assert "4.0000 to 6.0000 bohr (2 points; the last one)" in line and "0.05 Ha" in line
