"""train, evaluate and predict under torchrun; a lost process, and going on without it."""

import csv
import runpy
from pathlib import Path

import pytest

from deepchem_dft.cli import app
from deepchem_dft.runs import load_config, run

TINY = runpy.run_path(str(Path(__file__).parents[1] / "runs" / "conftest.py"))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return TINY["write_run"](
        tmp_path_factory.mktemp("several"),
        baselines={"pbe": "pbe"},
        evaluation={"processes": 1},
        output={"plots": False},
    )


@pytest.fixture(scope="module")
def single(config):
    """Folder of the run of one process."""
    run(load_config(config), config.parent / "single")
    return config.parent / "single"


def table(file):
    """Return a CSV file's rows, numbers as numbers, wall times left out."""
    with open(file, newline="") as stream:
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]
    return [[number(v) for v in row.values()] for row in rows]


def number(text):
    try:
        return float(text or "nan")
    except ValueError:
        return text


def assert_same(ours, theirs, *names):
    for name in names:
        for a, b in zip(table(ours / name), table(theirs / name), strict=True):
            texts = [x for x in a if isinstance(x, str)]
            assert texts == [x for x in b if isinstance(x, str)]
            assert [x for x in a if not isinstance(x, str)] == pytest.approx(
                [x for x in b if not isinstance(x, str)], rel=1e-9, abs=1e-9, nan_ok=True
            ), name


def test_train_evaluate_and_predict_are_those_of_one_process(config, single, torchrun):
    folder, data = config.parent, config.parent / "data.yaml"
    done = torchrun(
        "commands.py",
        "train",
        config,
        "--run-dir",
        folder / "double",
        "-q",
        "+",
        "evaluate",
        folder / "double",
        "--xc",
        "pbe",
        "--out",
        folder / "double.csv",
        "+",
        "predict",
        folder / "double",
        data,
        "--out",
        folder / "predicted.csv",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same(folder / "double", single, "history.csv", "results.csv", "entries.csv")
    assert done.stdout.count("# Results of tiny") == 1  # one process speaks
    assert (folder / "double" / "results.md").read_text() == (single / "results.md").read_text()
    solved = (folder / "double" / "energies.jsonl").read_text().splitlines()
    assert len(solved) == len((single / "energies.jsonl").read_text().splitlines())

    for words in (
        ("evaluate", single, "--xc", "pbe", "--out", single / "double.csv"),
        ("predict", single, data, "--out", single / "predicted.csv"),
    ):
        app([*map(str, words)], standalone_mode=False)
    assert_same(folder, single, "double.csv", "predicted.csv")


def check_loss_and_resume(config, single, torchrun, rank, processes):
    folder = config.parent / f"lost{rank}"
    # Three epochs of two steps follow the frozen stage; step 4 would end the second.
    done = torchrun("commands.py", "--lose", rank, 3, "train", config, "--run-dir", folder, "-q")
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1, done.stderr[-3000:]
    message = next(line for line in done.stderr.splitlines() if "error: " in line)
    assert "step 4 (epoch 2)" in message or "step 3 (epoch 2)" in message
    assert "lost" in message and f"--run-dir {folder} --resume" in message
    if processes == 1:
        run(load_config(config), folder, resume=True)
    else:
        again = torchrun(
            "commands.py", "train", config, "--run-dir", folder, "--resume", "-q", processes=processes
        )
        assert again.returncode == 0, again.stderr[-3000:]
    assert_same(folder, single, "history.csv", "results.csv", "entries.csv")


def test_a_lost_process_ends_the_run_with_one_message_and_a_whole_checkpoint(config, single, torchrun):
    check_loss_and_resume(config, single, torchrun, rank=1, processes=1)


def test_what_one_process_does_is_refused_before_anything_is_written(torchrun, tmp_path):
    """Runs whose training is not shared, their evaluation, commands on data, on molecules, on runs."""
    (tmp_path / "h2.smi").write_text("[H][H]\n")
    run, inputs = tmp_path / "old", tmp_path / "h2.smi"
    run.mkdir()
    refused = []
    for kind, data in (
        ("ksr", "{train: [{family: h2, distances: [1.2]}]}"),
        ("hamiltonian", "{train: [{file: h2.h5}], test: [{file: h2.h5}]}"),
        ("deq", "{source: labelled, path: labels.csv}"),
    ):
        config = tmp_path / f"{kind}.yaml"
        config.write_text(f"model: {kind}\ndata: {data}\n")
        (run / kind).mkdir()
        (run / kind / "config.yaml").write_text(config.read_text())
        refused += [
            ["train", config, "--run-dir", tmp_path / "run"],
            ["train", config, "--run-dir", run / kind, "--resume"],
            ["evaluate", run / kind, "--out", tmp_path / "e.csv"],
        ]
    refused += [
        ["data", "label", inputs, "--out", tmp_path / "l.csv"],
        ["data", "hamiltonian", inputs, "--out", tmp_path / "h.h5"],
        ["data", "ksr", "h2", "--out", tmp_path / "k.csv"],
        ["data", "densities", tmp_path / "none.yaml", "--out", tmp_path / "d"],
        ["data", "check", tmp_path / "none.yaml"],
        ["optimize", "H 0 0 0; H 0 0 1.4", "--out", tmp_path / "o.xyz"],
        ["scf", "H 0 0 0; H 0 0 1.4"],
        ["export", run / "ksr", "--to", tmp_path / "m.safetensors"],
        ["report", run / "ksr", "--out", tmp_path / "r.html"],
    ]
    before = sorted(tmp_path.rglob("*"))
    commands = [word for words in refused for word in (*words, "+")][:-1]
    done = torchrun("commands.py", "--refused", *commands)
    assert done.returncode == 0, done.stderr[-3000:]
    messages = done.stdout.splitlines()
    assert len(messages) == len(refused), done.stdout
    assert all("one process" in m and "without torchrun" in m for m in messages), done.stdout
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_losing_the_first_process_and_going_on_with_three(config, single, torchrun):
    check_loss_and_resume(config, single, torchrun, rank=0, processes=3)


@pytest.mark.slow
def test_torchrun_may_restart_by_itself(config, single, torchrun):
    folder = config.parent / "restarted"
    done = torchrun(
        "commands.py",
        "--lose",
        1,
        3,
        "train",
        config,
        "--run-dir",
        folder,
        "--resume",
        "-q",
        "output.plots=true",
        restarts=1,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "another process was lost" in done.stderr or "SIGTERM" in done.stderr
    assert (folder / "plots" / "h2_curve.png").is_file()
    assert_same(folder, single, "history.csv", "results.csv", "entries.csv")
