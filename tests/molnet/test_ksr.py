"""``load_ksr``: the sets of the paper, sets of one's own, cache, misuse."""

import inspect
import logging

import deepchem as dc
import numpy as np
import pytest

from deepchem_dft import molnet
from deepchem_dft.errors import InputError
from deepchem_dft.lattice import exact as room
from deepchem_dft.lattice.exact import ExactState
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.systems import CURVE, TEST, TRAIN, VALID, System, h2, ion
from deepchem_dft.molnet import ksr, load_ksr

#: Much quicker than the paper's, and as good for what is tested here.
SMALL = Grid(151, 0.16)
pytestmark = pytest.mark.filterwarnings("ignore:.*the walls of the grid:UserWarning")


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    """One cache for this file."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPCHEM_DFT_CACHE", str(folder))
        patch.delenv("DEEPCHEM_DATA_DIR", raising=False)
        yield folder


@pytest.fixture
def made(monkeypatch):
    """Names of the systems that are asked for."""
    names = []

    def solve(system, grid, orbitals):
        names.append(system.name)
        return room.exact(system, SMALL, orbitals)

    monkeypatch.setattr(ksr, "exact", solve)
    return names


def test_signature_is_that_of_moleculenet():
    ours = list(inspect.signature(load_ksr).parameters)[:6]
    assert ours == list(inspect.signature(dc.molnet.load_delaney).parameters)[:6]
    assert "References" in load_ksr.__doc__ and "`load_ksr`" in molnet.__doc__


def test_default_is_the_paper_s_h2():
    tasks, (train, valid, test), transformers = load_ksr(grid=SMALL)
    assert (tasks, transformers) == (["energy"], [])
    for part, distances in ((train, TRAIN), (valid, VALID), (test, TEST)):
        assert list(part.ids) == [h2(distance).name for distance in distances["h2"]]
    state = train.X[0]
    assert isinstance(state, ExactState) and state.system == h2(1.28) and state.grid == SMALL
    assert train.y.shape == (2, 1) and train.y.dtype == np.float64 and (train.w == 1).all()
    assert train.y[0, 0] == state.energy == room.exact(h2(1.28), SMALL).energy
    assert state.energy < state.total_energy < -1.4


@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        ("h2_plus", (0, 0, 52)),
        ("h2", (2, 4, 32)),
        ("h4", (8, 4, 28)),
        ("h2h2", (0, 0, 31)),
        (["h2", "h4"], (10, 8, 60)),
        ("h3_plus", (0, 0, 69)),
        ("helium_like", (0, 0, 4)),
    ],
)
def test_published_sets(family, sizes, monkeypatch):
    monkeypatch.setattr(
        ksr, "exact", lambda system, grid, orbitals: ExactState(system, SMALL, -1.0, np.zeros((2, 151)))
    )
    _, parts, _ = load_ksr(family=family, reload=False)
    assert tuple(map(len, parts)) == sizes
    for part in filter(len, parts):
        assert part.X.shape == (len(part),) and part.y.shape == (len(part), 1)


def test_sets_of_one_s_own(made):
    _, (train, valid, test), _ = load_ksr(
        family="h2", train={"h2": [1.0, 2], "h2_plus": [2.4]}, valid=[], test=[1.52], reload=False
    )
    assert train.ids.tolist() == ["H2 R=1", "H2 R=2", "H2+ R=2.4"]
    assert (len(valid), test.ids.tolist()) == (0, ["H2 R=1.52"])
    assert made == [*train.ids, *test.ids]


def test_one_set_and_divided_sets(made):
    _, (everything,), _ = load_ksr(family=["hydrogen_like", "helium_like"], splitter=None, reload=False)
    assert len(everything) == len(CURVE["hydrogen_like"]) + len(CURVE["helium_like"])
    mine = [ion(z, 2) for z in range(1, 6)] + [System([0.3], [z], 1, 1) for z in range(1, 6)]
    _, parts, _ = load_ksr(systems=mine, splitter="random", reload=False)
    assert tuple(map(len, parts)) == (8, 1, 1)
    assert [s.system for s in load_ksr(systems=mine, splitter="index", reload=False)[1][0].X] == (mine[:8])
    _, parts, _ = load_ksr(systems=mine, splitter=dc.splits.IndexSplitter(), reload=False)
    assert tuple(map(len, parts)) == (8, 1, 1)


def test_reload(tmp_path, made):
    options = {"family": "hydrogen_like", "splitter": None, "save_dir": str(tmp_path)}
    first = load_ksr(**options)[1][0]
    assert len(made) == 4
    second = load_ksr(**options)[1][0]
    assert len(made) == 4 and np.array_equal(first.y, second.y)
    assert list(first.X) == list(second.X) and list(first.ids) == list(second.ids)
    assert [s.density.sum() for s in second.X] == [s.density.sum() for s in first.X]
    load_ksr(**options, reload=False)
    load_ksr(**options, orbitals=20)
    load_ksr(**options, grid=Grid(200))
    assert len(made) == 16
    (home,) = tmp_path.iterdir()
    assert len(list(home.iterdir())) == 3  # and nothing half-made


def test_a_folder_that_cannot_be_written(tmp_path, made, caplog):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING, "deepchem_dft"):
        _, (data,), _ = load_ksr(family="hydrogen_like", splitter=None, save_dir=str(tmp_path / "file"))
    assert len(data) == 4 and "not cached" in caplog.text


def test_progress(made):
    seen = []
    load_ksr(family="hydrogen_like", reload=False, progress=lambda *what: seen.append(what))
    assert seen == [(1, 4, "H"), (2, 4, "He+"), (3, 4, "Li++"), (4, 4, "Be+++")]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"family": "h5"}, "family"),
        ({"family": "h2", "train": {"h7": [1.0]}}, "family"),
        ({"splitter": "scaffold"}, "splitter"),
        ({"splitter": 3}, "splitter"),
        ({"transformers": ["normalization"]}, "transformers"),
        ({"featurizer": "ecfp"}, "featurizer"),
        ({"data_dir": "somewhere"}, "data_dir"),
        ({"systems": [h2(1.0)]}, "splitter"),
        ({"family": ["h2", "h4"], "train": [1.28]}, "train"),
        ({"train": ["far"]}, "train"),
        ({"train": [1.28], "splitter": None}, "train"),
        ({"test": [-1.0]}, "distances"),
        ({"test": [50.0]}, "positions"),
        ({"test": [float("nan")]}, "distances"),
        ({"family": "h4", "test": [2.0], "orbitals": 1, "train": []}, "orbitals"),
        ({"systems": [ion(5, 5)], "splitter": None}, "electrons"),
    ],
)
def test_misuse(options, field):
    with pytest.raises(InputError) as caught:
        load_ksr(reload=False, grid=SMALL, **options)
    assert caught.value.field == field and caught.value.remedy
