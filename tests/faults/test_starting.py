"""Two at a time, and what a start that was cut short leaves."""

import errno
import fcntl
import os
import signal
from contextlib import suppress

import pytest

from deepchem_dft import locks
from deepchem_dft.errors import InputError
from deepchem_dft.locks import GrowingFile, Lock
from deepchem_dft.runs import load_config
from deepchem_dft.runs.config import dump_yaml
from deepchem_dft.runs.rundir import RunDirectory

from .inputs import CONFIGS
from .shim import Shim


def holding(start) -> tuple[int, int]:
    """Let a child start something and keep it; return its number and a pipe it has told by."""
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        try:
            with start():
                os.write(tell, b"x")
                signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    assert os.read(told, 1) == b"x"
    return child, told


@pytest.mark.parametrize("name", CONFIGS)
def test_two_resumers(cases, inputs, name, tmp_path):
    case, config = cases(name), load_config(inputs / f"{name}.yaml")
    child, told = holding(lambda: RunDirectory(tmp_path / "run").opened(config))
    try:
        for more in ([], ["--resume"]):
            status, err = case.perform(tmp_path, *more)
            assert status == 1 and err.count("error: ") == 1
            assert f"{tmp_path / 'run'}: another process is writing this run ({child} on " in err
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(told)
    assert (tmp_path / "run" / ".lock").exists()  # of the dead, who has no lock any more
    case.go_on(tmp_path)
    assert not (tmp_path / "run" / ".lock").exists()


@pytest.mark.parametrize(
    "name, file", [("label", "labels.csv"), ("data hamiltonian", "h2.h5.part"), ("evaluate", "kept.jsonl")]
)
def test_two_writers_of_what_grows(cases, name, file, tmp_path):
    case = cases(name)
    child, told = holding(lambda: GrowingFile(tmp_path / file))
    try:
        status, err = case.perform(tmp_path, *case.again)
        assert status == 1 and err.count("error: ") == 1
        assert f"{tmp_path / file}: another process is writing the file ({child} on" in err
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(told)
    case.go_on(tmp_path)  # an empty file is a new one


def test_a_file_system_without_locks_draws_a_warning(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "")

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.warns(UserWarning, match="the file system has no locks"), Lock(tmp_path / ".lock", "the run"):
        pass
    with pytest.warns(UserWarning, match="no other process"):
        GrowingFile(tmp_path / "a").write(b"x")
    assert (tmp_path / "a").read_bytes() == b"x"


@pytest.mark.parametrize("what", ["interrupt", "interrupt after"])
def test_ctrl_c_at_any_step_of_a_lock_lets_go_of_it(what, tmp_path):
    """In a notebook, the process that was interrupted lives on."""
    for at in range(1, 5):  # opened, emptied, written, removed
        with Shim(tmp_path, at, what).working() as shim, suppress(KeyboardInterrupt):
            Lock(tmp_path / ".lock", "the run").release()
        assert shim.failed
        Lock(tmp_path / ".lock", "the run").release()


def test_a_lock_that_was_just_removed_is_none(tmp_path, monkeypatch):
    """Its last holder removes the file after we have opened it: we would hold what nobody sees."""
    path, usual, seen = tmp_path / ".lock", locks._take, []

    def removing(handle, *more):
        usual(handle, *more)
        if not seen:
            path.unlink()
        seen.append(handle)

    monkeypatch.setattr(locks, "_take", removing)
    with Lock(path, "the run"):
        assert len(seen) == 2
        with pytest.raises(InputError, match=rf"another process .*\({os.getpid()} on"):
            Lock(path, "the run")


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_a_start_of_an_older_version_that_was_cut_short(cases, inputs, share, more, tmp_path):
    """It wrote the configuration first, and the status last."""
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    text = dump_yaml(load_config(inputs / "ksr.yaml"))
    (run / "config.yaml").write_text(text[: round(share * len(text))])
    case = cases("ksr")
    assert case.perform(tmp_path, *more)[0] == 0
    assert case.read(tmp_path) == case.expected


@pytest.mark.parametrize(
    "name, text",
    [("config.yaml", "name: mine\n"), ("notes.txt", ""), ("checkpoints/best.pt", "x"), ("config.yaml", None)],
)
def test_a_folder_of_somebodys_own_is_left_alone(cases, inputs, name, text, tmp_path):
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True)
    path.write_text((inputs / "ksr.yaml").read_text() if text is None else text)
    before = path.read_text()
    status, err = cases("ksr").perform(tmp_path)
    assert status == 1 and "not empty and holds no run" in err
    assert path.read_text() == before
    assert [p for p in (tmp_path / "run").rglob("*") if p.is_file()] == [path]
