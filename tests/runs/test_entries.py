"""Selecting entries: filters, another basis, overlap, hash."""

import pytest

from deepchem_dft.errors import InputError
from deepchem_dft.models.xc.samples import make_dataset
from deepchem_dft.runs import load_config
from deepchem_dft.runs.xc.entries import (
    EntrySet,
    data_hash,
    dataset_path,
    load_sets,
    overlap_markdown,
    select,
    unique_systems,
)
from deepchem_dft.runs.xc.schema import DatasetRef


def names(tiny, **filters) -> list[str]:
    ref = DatasetRef(file=str(tiny.parent / "data.yaml"), **filters)
    return [e.name.removeprefix("tiny:") for e in select(ref)]


@pytest.mark.parametrize(
    "filters, expected",
    [
        ({}, ["H2", "LiH", "He", "Li"]),
        ({"split": "train"}, ["H2", "He"]),
        ({"split": ["valid", "test"]}, ["LiH", "Li"]),
        ({"types": ["ie"]}, ["He", "Li"]),
        ({"names": ["Li", "tiny:H2"]}, ["Li", "H2"]),
        ({"exclude": ["H2"]}, ["LiH", "He", "Li"]),
        ({"max_heavy": 0}, ["H2"]),
        ({"min_heavy": 1}, ["LiH", "He", "Li"]),
        ({"elements": ["H", "Li"]}, ["H2", "LiH", "Li"]),
        ({"max_electrons": 2}, ["H2", "He"]),
        ({"without_tags": ["noble"]}, ["H2", "LiH", "Li"]),
        ({"limit": 1}, ["H2"]),
    ],
)
def test_filters(tiny, filters, expected):
    assert names(tiny, **filters) == expected


@pytest.mark.parametrize(
    "filters, words",
    [({"names": ["Lih"]}, "LiH"), ({"exclude": ["X"]}, "no entry"), ({"min_heavy": 5}, "filters")],
)
def test_filters_that_leave_nothing(tiny, filters, words):
    with pytest.raises(InputError, match=words):
        names(tiny, **filters)


def test_unknown_dataset_suggests():
    with pytest.raises(InputError, match="w4-11"):
        dataset_path("w411")


def test_other_basis_changes_nothing_else(tiny):
    ref = DatasetRef(file=str(tiny.parent / "data.yaml"), weight=2.0)
    for old, new in zip(select(DatasetRef(file=ref.file)), select(ref, "6-31g")):
        assert {s.basis for s in new.get_systems()} == {"6-31g"}
        assert new.coefficients == old.coefficients
        assert new.get_true_val() == pytest.approx(old.get_true_val(), abs=0)
        assert (new.name, new.split, new.tags) == (old.name, old.split, old.tags)
        assert new.get_weight() == 2.0 * old.get_weight()
        for a, b in zip(old.get_systems(), new.get_systems()):
            assert (a.charge, a.spin, a.moldesc) == (b.charge, b.spin, b.moldesc)


def test_dataset_keeps_order_and_units(tiny):
    entries = select(DatasetRef(file=str(tiny.parent / "data.yaml")))
    dataset = make_dataset(entries)
    assert list(dataset.ids) == [e.name for e in entries]
    assert dataset.y[0, 0] == pytest.approx(109.5 / 627.5094740631)


def test_systems_are_unique(tiny):
    entries = select(DatasetRef(file=str(tiny.parent / "data.yaml")))
    assert sorted(s.name for s in unique_systems(entries)) == sorted(
        ["h2", "H", "lih", "Li", "He", "He+", "Li+"]
    )


def test_overlap_is_stated(tiny):
    config = load_config(tiny, ["data.test.0.split=[train, test]"])
    text = overlap_markdown(load_sets(config.data))
    assert "train and valid share no entry name, no molecule, and 1 free atom or ion (H)" in text
    assert "train and test share 2 entry names (h2, he), 1 molecule (H2)" in text
    assert "in no train or valid entry: Li(+1)" in text


def test_transition_states_are_no_molecules():
    """n + o2 > no + o would share NO2 with a set that has the molecule NO2, if they were."""
    barriers = select(DatasetRef(dataset="barriers"))
    text = overlap_markdown(
        [
            EntrySet("train", "barriers", barriers),
            EntrySet("test", "again", barriers[:1]),
            EntrySet("test", "w4-11", select(DatasetRef(dataset="w4-11"))),
        ]
    )
    train, _, shared, _ = text.splitlines()
    states = {e.tags["transition_state"] for e in barriers}
    others = {
        s.name for e in barriers for s in e.get_systems() if len(s.symbols) > 1 and s.name not in states
    }
    assert len(states) == 12
    assert (
        train == f"- train: 22 entries, {len(others)} molecules by formula and charge, 12 transition states"
    )
    assert "1 transition state, and" in shared
    assert "CH4O" not in shared  # methanol is tested on; trained on is OH taking H from CH3


def test_hash_sees_values_and_roles(tiny):
    config = load_config(tiny)
    base = data_hash(load_sets(config.data), 1)
    assert data_hash(load_sets(config.data), 1) == base
    assert data_hash(load_sets(config.data), 2) != base
    swapped = load_config(tiny, ["data.valid.0.split=test", "data.test.0.split=valid"])
    assert data_hash(load_sets(swapped.data), 1) != base
    file = tiny.parent / "data.yaml"
    file.write_text(file.read_text().replace("109.5", "109.6"))
    assert data_hash(load_sets(config.data), 1) != base


def test_sets_of_a_board_can_count_alike():
    """Four rows of one set and one of another: each set has half of the weight, and the mean is 1."""
    names = ["PA26_2", "PA26_7", "PA26_11", "PA26_12", "G21IP_2"]
    ref = DatasetRef(dataset="gscdb138", names=names, balance="sets", weight=2.0, basis="def2-svp")
    weights = [entry.get_weight() / 2.0 for entry in select(ref, "def2-svp")]
    assert weights == pytest.approx([5 / 8] * 4 + [5 / 2]) and sum(weights) / 5 == pytest.approx(1.0)


def test_rows_can_count_as_in_the_weighted_total():
    """S66 and BH76 of GMTKN55 weigh as 1/5.47 to 1/18.61; total energies of atoms weigh nothing."""
    ref = DatasetRef(dataset="gscdb138", names=["S66_1", "BH76_44", "AE18_10"], balance="energies")
    dimer, barrier, atom = (entry.get_weight() for entry in select(ref, "def2-svp"))
    assert dimer / barrier == pytest.approx(18.61 / 5.47) and atom == 0.0
    assert dimer + barrier + atom == pytest.approx(3.0)


def test_other_data_sets_cannot_be_balanced():
    with pytest.raises(InputError, match="no row of a board"):
        select(DatasetRef(dataset="barriers", balance="sets"))
