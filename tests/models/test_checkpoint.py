"""Checkpoint files: atomic, ordered, refused when damaged or foreign."""

import os
import random

import numpy as np
import pytest
import torch
from torch import nn

from deepchem_dft import checkpoint as files
from deepchem_dft.errors import CheckpointError


def test_contents_survive_and_need_no_code_to_read(tmp_path):
    content = {"a": torch.arange(3), "b": {"c": [1, 2.5, None, "text"]}}
    files.write(tmp_path / "x.pt", content)
    raw = torch.load(tmp_path / "x.pt", weights_only=True)
    assert raw["b"] == content["b"] and torch.equal(raw["a"], content["a"])
    assert os.listdir(tmp_path) == ["x.pt"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    files.write(tmp_path / "x.pt", {"value": 1})

    def half_written(obj, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half_written)
    with pytest.raises(OSError, match="disk full"):
        files.write(tmp_path / "x.pt", {"value": 2})
    assert files.read(tmp_path / "x.pt")["value"] == 1
    assert os.listdir(tmp_path) == ["x.pt"]


def test_newest_first_also_beyond_nine(tmp_path):
    for value in range(12):
        files.push(tmp_path, {"value": value}, keep=11)
    values = [files.read(path)["value"] for path in files.existing(tmp_path)]
    assert values == list(range(11, 0, -1))
    files.push(tmp_path, {"value": 12}, keep=2)
    assert [files.read(p)["value"] for p in files.existing(tmp_path)] == [12, 11]
    assert files.newest(tmp_path) == str(tmp_path / "checkpoint1.pt")


@pytest.mark.parametrize("survivors", [1, 2, 3])
def test_killed_between_renames_the_newest_whole_file_is_found(tmp_path, monkeypatch, survivors):
    for value in range(3):
        files.push(tmp_path, {"value": value}, keep=5)
    calls = []
    replace = os.replace

    def dying(source, target):
        calls.append(source)
        if len(calls) > survivors:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", dying)
    with pytest.raises(KeyboardInterrupt):
        files.push(tmp_path, {"value": 3}, keep=5)
    monkeypatch.undo()
    assert files.read(files.newest(tmp_path))["value"] == 3
    files.push(tmp_path, {"value": 4}, keep=5)
    assert files.read(files.newest(tmp_path))["value"] == 4


def test_damaged_foreign_and_missing_files_are_named(tmp_path):
    good = tmp_path / "checkpoint1.pt"
    files.write(good, {"value": torch.zeros(1000)})
    data = good.read_bytes()
    for name, content in {
        "cut.pt": data[: len(data) // 2],
        "empty.pt": b"",
        "text.pt": b"hello",
        "flipped.pt": data[:100] + bytes(50) + data[150:],
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            files.read(tmp_path / name)
    torch.save({"model_state_dict": {}}, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of this package"):
        files.read(tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        files.read(tmp_path / "nowhere.pt")
    (tmp_path / "empty_folder").mkdir()
    with pytest.raises(CheckpointError, match="no checkpoint found"):
        files.newest(tmp_path / "empty_folder")


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.system, ("touch " + str(tmp_path / "owned"),))

    torch.save({"format": files.FORMAT, "x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError):
        files.read(tmp_path / "evil.pt")
    assert not (tmp_path / "owned").exists()


def test_parameters_of_another_network_are_refused_and_nothing_changes():
    module = nn.Linear(2, 1)
    before = module.weight.detach().clone()
    with pytest.raises(CheckpointError, match=r"'weight' has shape \(1, 3\)"):
        files.load_parameters(module, nn.Linear(3, 1).state_dict(), "file.pt")
    with pytest.raises(CheckpointError, match="'bias' is only in this model"):
        files.load_parameters(module, nn.Linear(2, 1, bias=False).state_dict(), "file.pt")
    assert torch.equal(module.weight, before)
    files.load_parameters(module, nn.Linear(2, 1, bias=False).state_dict(), "file.pt", strict=False)
    assert not torch.equal(module.weight, before)


def test_random_numbers_go_on_where_they_were(tmp_path):
    files.write(tmp_path / "x.pt", {"random": files.random_state()})
    expected = [torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()]
    files.set_random_state(files.read(tmp_path / "x.pt")["random"])
    assert [torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()] == expected
