"""Work in processes that may die."""

from __future__ import annotations

import os
from functools import partial

import pytest

from deepchem_dft.errors import ProcessLost
from deepchem_dft.parallel import pool as workers
from deepchem_dft.parallel.pool import in_order


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
