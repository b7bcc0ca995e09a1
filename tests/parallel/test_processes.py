"""Two processes under torchrun do what one does: same numbers, same errors, same checkpoints."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

S = runpy.run_path(str(Path(__file__).parent / "scenarios.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def alone(folder):
    """What a single process sees, by scenario, computed when asked for."""
    known = {}

    def see(name):
        if name not in known:
            place = folder / "alone"
            place.mkdir(exist_ok=True)
            np.random.seed(0)
            known[name] = S[name](place)
        return known[name]

    return see


@pytest.fixture(scope="module")
def both(folder, torchrun):
    """What each of two processes sees, all scenarios in one start."""
    model = S["make_model"](model_dir=str(folder / "from-one"))
    data = S["make_dataset"](S["entries"]())
    model.fit(data, nb_epoch=5, restore_best=False, valid_dataset=S["make_dataset"](S["entries"]()[:2]))
    done = torchrun("scenarios.py", folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in (0, 1)]


def assert_equal(ours, theirs, late=1e-10):
    """Compare histories and parameters; ``late`` is for all but the first epoch."""
    assert len(ours["history"]) == len(theirs["history"])
    for number, (a, b) in enumerate(zip(ours["history"], theirs["history"])):
        assert a == pytest.approx(b, rel=late if number else 1e-10, abs=1e-10, nan_ok=True)
    assert ours["parameters"] == pytest.approx(theirs["parameters"], rel=0, abs=late)


def test_losses_parameters_and_predictions_are_those_of_one_process(alone, both):
    expected = alone("training")
    assert len(expected["history"]) == S["EPOCHS"]
    for seen in both:
        assert_equal(seen["training"], expected, late=1e-7)
        for key in ("prediction", "by_type"):
            assert seen["training"][key] == pytest.approx(expected[key], rel=0, abs=1e-7)
    assert both[0]["training"] == both[1]["training"]  # to the last bit


@pytest.mark.skipif(sys.platform != "linux", reason="names of threads are read from /proc")
def test_no_thread_of_gloo_outlives_the_work(both, folder):
    # One that is still running when the interpreter ends may abort it, after all is done.
    for rank in (0, 1):
        assert "gloo" not in (folder / f"threads{rank}.txt").read_text()


def test_random_numbers_are_those_of_process_0(alone, both):
    assert [seen["training"]["seed"] for seen in both] == [alone("training")["seed"]] * 2


def test_checkpoint_of_two_processes_is_resumed_by_one(alone, both, folder):
    model = S["make_model"](model_dir=str(folder / "training"), seed=7)
    model.restore()
    keys = {str(s.key) for entry in S["entries"]() for s in entry.get_systems()}
    assert set(model.model.states) == keys  # the orbitals of both
    model.fit(
        S["make_dataset"](S["entries"]()),
        nb_epoch=S["EPOCHS"],
        restore=True,
        restore_best=False,
        max_checkpoints_to_keep=0,
        valid_dataset=S["make_dataset"](S["entries"]()[:2]),
    )
    assert_equal(S["state_of"](model), both[0]["training"])


def test_checkpoint_of_one_process_is_resumed_by_two(alone, both):
    for seen in both:
        assert_equal(seen["going_on"], alone("training"))


def test_systems_that_move_take_their_orbitals_along(alone, both):
    expected, _ = alone("moving")
    for seen in both:
        state, moved = seen["moving"]
        assert moved == [False, True, False, True, False]  # after epochs 2 and 4
        assert_equal(state, expected)


def test_functionals_with_nonlocal_parts(alone, both):
    expected = alone("nonlocal_parts")
    for seen in both:
        assert_equal(seen["nonlocal_parts"], expected, late=1e-7)
        assert seen["nonlocal_parts"]["prediction"] == pytest.approx(expected["prediction"], abs=1e-8)


def test_density_entries_are_valued_where_their_system_is(alone, both):
    expected = alone("densities")
    for seen in both:
        assert_equal(seen["densities"], expected)
        values = seen["densities"]["prediction"]
        assert values == pytest.approx(expected["prediction"], rel=0, abs=1e-10)
        assert min(values[:2]) > 1e-4


def test_unconverged_system_is_left_out_everywhere(alone, both):
    expected = alone("unconverged")
    assert expected["history"][0][3] == 1
    assert "system Li" in expected["error"] and expected["prediction"][0] == "nan"
    for rank, seen in enumerate(both):
        found = seen["unconverged"]
        assert_equal(found, expected)
        assert found["error"] == expected["error"]
        assert found["prediction"][0] == "nan"
        assert len(found["warned"]) == (1 if rank == 0 else 0)


def test_error_of_one_is_the_error_of_all(alone, both):
    expected = alone("errors")
    assert "FunctionalError" in expected["nan network"]
    assert "entry ie-He" in expected["memory"] and "too little memory" in expected["memory"]
    for seen in both:
        for key in ("nan network", "files of it", "memory"):
            assert seen["errors"][key] == expected[key]
        assert "CheckpointError" in seen["errors"]["no checkpoint"]
        assert seen["errors"]["afterwards"] == pytest.approx(expected["afterwards"], abs=1e-10)


def test_of_models_that_do_not_share_their_training_one_process_writes(alone, both):
    expected = alone("others")
    assert expected["ksr files"] == [f"checkpoint{i}.pt" for i in range(1, 6)]  # none is lost
    assert {"deq", "ksr", "hamiltonian"} < set(expected)
    for seen in both:
        assert seen["others"] == expected


def test_tools(both):
    for rank, seen in enumerate(both):
        found = seen["talk"]
        assert (found["size"], found["alone"], found["main"]) == (2, 1, 1)
        assert found["gathered"] == [0, 1]
        assert found["shared"] == [2, 4, 6, 8, 10] and found["after"] == []
        assert found["seen"] == ([2, 4, 6, 8, 10] if rank == 0 else [])
        assert "cannot travel" in found["failed"] and "not there" in found["main failed"]
        assert "different numbers" in found["same"]
        assert "different entries" in found["predict"]


def test_alone_no_group_is_made(alone):
    import torch.distributed as dist

    alone("training")
    assert not dist.is_initialized()
