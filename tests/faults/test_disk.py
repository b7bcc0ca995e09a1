"""A real small disk, a real read-only one, and a standard output that takes nothing."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from deepchem_dft.errors import StorageError
from deepchem_dft.files import check_writable, replacing, write

from .case import assert_whole


def _mount(*words: object) -> bool:
    try:
        done = subprocess.run(["mount", *map(str, words)], capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


@contextmanager
def disk(folder, size: str):
    """A file system of some size, which takes root to make."""
    folder.mkdir(exist_ok=True)
    if not _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder):
        pytest.skip("only root can make a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


NO_ROOM = (
    "cannot be written (no space left on device). Remedy: make room on that disk, or write to another one."
)
WRITERS = {
    "hdf5": """
        import numpy as np
        from deepchem_dft.hamiltonian.files.store import HamiltonianSample, write_samples
        write_samples(path, (HamiltonianSample([1, 1], [[0, 0, 0], [0, 0, 1.4]], "sto-3g",
                                               np.eye(2), name=str(i)) for i in range(5000)))""",
    "checkpoint": """
        import torch
        from deepchem_dft import checkpoint
        checkpoint.write(path, {"x": torch.zeros(30000)})""",
    "figure": """
        from deepchem_dft.runs.drawing import save
        from matplotlib.figure import Figure
        import numpy as np
        figure = Figure(figsize=(20, 20))
        axis = figure.subplots()
        axis.imshow(np.random.default_rng(0).random((500, 500)))
        save(figure, path)""",
    "sqlite": """
        import sqlite3
        from contextlib import closing
        from deepchem_dft.files import replacing
        with replacing(path) as draft, closing(sqlite3.connect(draft)) as base, base:
            base.execute("create table t (x)")
            base.executemany("insert into t values (?)", [("x" * 1000,)] * 200)""",
    "numpy": """
        import numpy as np
        from deepchem_dft.files import replacing
        with replacing(path) as draft, open(draft, "wb") as stream:
            np.save(stream, np.zeros(30000))""",
}


@pytest.mark.parametrize("kind", WRITERS)
def test_whatever_the_library_the_error_is_ours(kind, tmp_path):
    """In a process of its own: HDF5, told of a full disk, ends it."""
    body = WRITERS[kind].replace("\n        ", "\n    ")
    code = (
        f"import sys\npath = sys.argv[1]\ntry:{body}\nexcept Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    with disk(tmp_path / "small", "64k") as folder:
        (folder / "a").write_text("old")
        done = subprocess.run([sys.executable, "-c", code, folder / "a"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout == f"StorageError {folder / 'a'}: {NO_ROOM}\n"
        assert {p.name: p.read_text() for p in folder.iterdir()} == {"a": "old"}


def test_a_run_on_a_disk_that_is_too_small_goes_on_when_there_is_room(cases, tmp_path):
    case = cases("xc")
    with disk(tmp_path / "small", "48k") as folder:
        status, err = case.perform(folder)
        assert status == 1 and err.count("error: ") == 1 and "no space left" in err, err
        assert_whole(folder)
        assert _mount("-o", "remount,size=4m", folder)
        case.go_on(folder)


def test_a_read_only_disk(cases, tmp_path):
    with disk(tmp_path / "disk", "4m") as folder:
        assert _mount("-o", "remount,ro", folder)
        for name in ("ksr", "label", "predict", "export"):
            status, err = cases(name).perform(folder)
            assert status == 1 and err.startswith("error: ") and err.count("\n") == 1, err
            assert "read-only file system" in err and str(folder) in err
        assert _mount("-o", "remount,rw", folder)
        cases("ksr").go_on(folder)


@pytest.mark.parametrize(
    "name, words",
    [("a" * 300, "file name too long"), ("folder", "is a directory"), ("file/a.csv", "not a direc")],
)
def test_names_that_cannot_be(tmp_path, name, words):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    for attempt in (check_writable, lambda path: write(path, "text")):
        with pytest.raises(StorageError, match=f"{words}|file exists") as caught:
            attempt(tmp_path / name)
        assert caught.value.remedy and isinstance(caught.value, OSError)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_a_long_name_a_link_and_a_mode_are_kept(tmp_path):
    long = tmp_path / ("é" * 120 + ".csv")  # 244 bytes: a longer draft could not be made
    write(long, "x")
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    write(link, "new")
    assert link.is_symlink() and target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_device_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write(pipe, "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    with replacing("/dev/null") as draft:
        draft.write_text("nothing")
    assert not os.path.isfile("/dev/null")
    with pytest.raises(StorageError, match="/dev/full: cannot be written .no space left"):
        write("/dev/full", "x")


def command(*words: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "deepchem_dft", *words], text=True, stderr=subprocess.PIPE, **options
    )


def test_a_reader_that_has_seen_enough_hears_no_complaint():
    process = command("zoo", "show", "nn-mgga", "--json", stdout=subprocess.PIPE)
    process.stdout.close()  # as head does
    assert "Traceback" not in (err := process.stderr.read()) and "error" not in err, err
    process.wait()


def test_a_standard_output_without_room_is_said():
    with open("/dev/full", "w") as full:
        process = command("--version", stdout=full)
        said = process.stderr.read()
        assert said.startswith("error: ") and said.count("\n") == 1, said
        assert "standard output: cannot be" in said and "no space left on device" in said
        assert process.wait() == 1
