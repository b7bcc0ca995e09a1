"""Boards: rows and systems of a folder of tables, selections, and what damage is told of."""

import shutil

import numpy as np
import pytest

from deepchem_dft.data.boards import Board, weighted_total, weights
from deepchem_dft.data.boards.totals import diet
from deepchem_dft.errors import InputError
from deepchem_dft.molnet import board, datasets_dir, load_gscdb138


@pytest.fixture
def copy(tmp_path):
    """A copy of the board of which only three rows are kept, to be damaged."""
    folder = tmp_path / "gscdb138"
    shutil.copytree(datasets_dir() / "gscdb138", folder)
    return folder


def test_geometry_charge_and_basis_arrive():
    """The water dimer of S66 with its distance, in Bohr; an anion with its charge; the chosen basis."""
    source = board()
    row = source.rows[source.by_name["S66_1"]]
    dimer = source.system(max((n for n, _ in row.members), key=lambda n: len(source.symbols(n))), "sto-3g")
    assert sorted(dimer.symbols) == ["H"] * 4 + ["O"] * 2 and dimer.basis == "sto-3g"
    oxygens = dimer.positions[[i for i, s in enumerate(dimer.symbols) if s == "O"]]
    assert 2.7 < np.linalg.norm(oxygens[0] - oxygens[1]) * 0.529177 < 3.0
    affinity = source.entry(source.by_name["G21EA_4"], "def2-svpd")
    charges = {c: s.charge for c, s in zip(affinity.coefficients, affinity.get_systems())}
    assert charges == {1.0: 0, -1.0: -1}


def test_systems_are_shared_between_entries():
    source = board()
    a, b = (source.entry(source.by_name[name]) for name in ("TAE_W4-17_118", "TAE_W4-17_12"))
    atoms = {s.name: s for s in a.get_systems()}
    assert any(s is atoms.get(s.name) for s in b.get_systems())


def test_selections_combine():
    source = board()
    rows = source.select(types=["TAE", "NC"], max_heavy=3, min_heavy=2, elements=["H", "O"], split="train")
    assert rows
    for i in rows:
        row = source.rows[i]
        assert {row.type, row.kind} & {"TAE", "NC"} and row.split == "train"
        symbols = [source.symbols(n) for n, _ in row.members]
        assert 2 <= max(sum(s != "H" for s in one) for one in symbols) <= 3
        assert {s for one in symbols for s in one} <= {"H", "O"}
    assert not any(source.rows[i].set.endswith("7MR") for i in source.select(without=["multireference"]))


@pytest.mark.parametrize(
    ("filters", "remedy"),
    [
        ({"sets": ["BH47"]}, "'BH46'"),
        ({"types": ["NCI"]}, "'NC'"),
        ({"split": "tests"}, "'test'"),
        ({"names": ["BH76_1003"]}, "BH76_"),
    ],
)
def test_unknown_words_are_refused_with_the_closest(filters, remedy):
    with pytest.raises(InputError, match=remedy):
        board().select(**filters)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (",TC,TAE,", ",TC;TAE,", "table is damaged"),
        (":-1", ":-x", "row is damaged"),
        (",train,", ",trian,", "row is damaged"),
    ],
)
def test_damaged_rows_are_named(copy, old, new, problem):
    path = copy / "reactions.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=rf"line \d+.*{problem}"):
        Board(copy)


def test_a_row_that_does_not_balance_is_refused(copy):
    path = copy / "reactions.csv"
    text = path.read_text()
    start = text.index("\nPA26_")
    path.write_text(text[:start] + text[start:].replace(" H+:1", "", 1))
    damaged = Board(copy)
    row = next(i for i, r in enumerate(damaged.rows) if r.set == "PA26" and not r.bare)
    with pytest.raises(InputError, match="1 H missing"):
        damaged.entry(row)


def test_damaged_arrays_are_named(copy):
    (copy / "gscdb138.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(InputError, match="gscdb138.npz.*cannot be read"):
        Board(copy).published(0)


def test_weighted_total_is_wtmad2_over_whole_subsets():
    """By the definition, with subsets one by one: sum N (56.84 / m) MAD / sum N."""
    source = board()
    rows = source.select(sets=["S66", "RC21"])
    errors = {source.rows[i].name: source.published_errors(i)["PBE0"] for i in rows}
    w = weights(source)
    parts = []
    for name, mean in (("S66", 5.47), ("RC21", 35.70)):
        own = [abs(e) for row, e in errors.items() if row.rpartition("_")[0] == name]
        parts.append((len(own), 56.84 / mean * np.mean(own)))
    expected = sum(n * x for n, x in parts) / sum(n for n, _ in parts)
    assert weighted_total(errors, w) == pytest.approx(expected, rel=1e-12)


def test_an_error_that_is_no_number_is_not_passed_over():
    assert np.isnan(weighted_total({"a": float("nan"), "b": 1.0}, {"a": 1.0, "b": 1.0}))


def test_diet_has_three_choices():
    with pytest.raises(InputError, match="30, 100 or 150"):
        diet(board(), 50)


def test_loader_filters_splits_and_replaces_the_basis():
    _, (train, valid, test), transformers = load_gscdb138(types=["IP"], max_heavy=1, basis="def2-svp")
    assert transformers == [] and len(train) > len(test) > 0
    assert {s.basis for e in train.X for s in e.get_systems()} == {"def2-svp"}
    _, (whole,), _ = load_gscdb138(splitter=None, sets=["SC74"], max_heavy=1, basis="def2-svp")
    assert [e.split for e in whole.X] == [None]
    with pytest.raises(InputError, match="no entry of gscdb138"):
        load_gscdb138(sets=["PA26"], elements=["Kr"])
