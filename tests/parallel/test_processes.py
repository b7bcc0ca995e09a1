"""Two processes under torchrun do what one does: same numbers, same errors; and pools of workers."""

import os
import runpy
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from deepchem_dft.errors import ProcessLost
from deepchem_dft.parallel import pool as workers
from deepchem_dft.parallel.pool import in_order

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


def test_results_come_in_order_and_a_few_items_are_taken_ahead():
    taken = []

    def items():
        for number in range(12):
            taken.append(number)
            yield f"(__import__('time').sleep({0.2 if number == 0 else 0}), {number})[1]"

    results = in_order(eval, items(), 2, str)
    assert next(results) == 0
    assert len(taken) == 8  # four for each of two processes
    assert list(results) == list(range(1, 12))


def test_an_item_that_kills_its_process_is_the_only_one_lost():
    items = ["1 + 1", "__import__('os')._exit(3)", "2 + 2", "3 + 3", "__import__('os').abort()", "4 + 4"]
    assert list(in_order(eval, items, 2, lambda item: "died")) == [2, "died", 4, 6, "died", 8]


def test_processes_use_one_thread_and_this_one_keeps_its_own(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS")
    assert list(in_order(os.getenv, ["OMP_NUM_THREADS", "MKL_NUM_THREADS"], 1, str)) == ["1", "1"]
    assert os.environ["OMP_NUM_THREADS"] == "5" and "MKL_NUM_THREADS" not in os.environ


def test_stopping_early_ends_the_processes(eventually):
    results = in_order(eval, ["__import__('os').getpid()"] * 100, 1, str)
    process = next(results)
    assert os.path.exists(f"/proc/{process}")
    results.close()
    assert eventually(lambda: not os.path.exists(f"/proc/{process}"))


def test_where_no_process_can_be_started_nothing_is_called_lost(monkeypatch):
    monkeypatch.setattr(workers, "_begin", partial(os._exit, 1))
    with pytest.raises(ProcessLost, match="processes cannot be started"):
        list(in_order(eval, ["1"], 1, str))
