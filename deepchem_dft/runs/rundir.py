"""The run directory: where everything about a run is kept, and who may write into it."""

import json
import logging
import math
import os
import platform
import subprocess
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from deepchem_dft import parallel
from deepchem_dft.errors import DeepChemDFTError, InputError
from deepchem_dft.files import make_folder, storing, sweep, write
from deepchem_dft.locks import LOCK, Lock
from deepchem_dft.runs.config import AnyConfig, config_hash, dump_yaml, read_yaml_mapping, validate
from deepchem_dft.runs.rows import read_json, read_rows, required_json
from deepchem_dft.sinks import printable

LOGGER = logging.getLogger("deepchem_dft.runs")

#: State of a run whose directory is not complete yet: it may be started once more.
_STARTING = "starting"
#: Columns of history.csv, with units in the names.
HISTORY_COLUMNS = [
    "epoch",
    "stage",
    "learning_rate",
    "loss",
    "train_mae_kcal",
    "valid_mae_kcal",
    "valid_score",
    "unconverged",
    "scf_solutions",
    "seconds",
]


class _InertFormatter(logging.Formatter):
    """Without what a terminal obeys: logs are read on one, and hold names out of files."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class RunDirectory:
    """Files of one run; of several processes, number 0 alone writes them.

    Parameters
    ----------
    path : str or Path
        The folder. It is created by :meth:`opened`.

    Notes
    -----
    ``config.yaml`` the resolved configuration, ``versions.json``, ``data.json`` (entries and
    their SHA-256), ``status.json``, ``checkpoints/``, ``log.txt``, ``history.csv``,
    ``functional.pt`` (the trained parameters), ``results.csv``, ``results.md``, ``entries.csv``,
    ``plots/``, and ``energies.jsonl`` (each solved system, so that nothing is solved twice).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.plots = self.path / "plots"
        self.states = self.path / "states"

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    # -- life of a run ---------------------------------------------------------------------

    @property
    def status(self) -> dict[str, Any]:
        """What ``status.json`` says; empty if there is none, or a damaged one."""
        return read_json(self / "status.json")

    def set_status(self, **values: Any) -> None:
        """Update ``status.json``; a reader never sees half of it."""
        parallel.on_main(lambda: write(self / "status.json", json.dumps({**self.status, **values}, indent=2)))

    @contextmanager
    def opened(self, config: AnyConfig, resume: bool = False) -> Iterator[None]:
        """Keep the folder from other processes, claim it for a run, and log what happens.

        A run that ends without an error is marked as finished.

        Parameters
        ----------
        config : RunConfig
            The resolved configuration.
        resume : bool
            Continue an unfinished run of the same configuration.

        Raises
        ------
        InputError
            If another process writes there, the folder holds a run that may not be overwritten, or
            other files.
        StorageError
            If the folder cannot be written.
        """
        locks: list[Lock] = []  # of process 0; a lock cannot be sent to the others
        parallel.on_main(lambda: locks.append(self._lock()))
        try:
            self.start(config, resume)
            with self._logged():
                yield
        finally:
            for lock in locks:
                lock.release()

    def _lock(self) -> Lock:
        make_folder(self.path)
        self._refuse_links()
        return Lock(self / LOCK, "this run", "wait for it, or end it, and go on with --resume")

    def start(self, config: AnyConfig, resume: bool = False) -> bool:
        """Claim the folder for a run, without keeping it from other processes: see `opened`.

        Returns
        -------
        bool
            True if an earlier run is continued.
        """
        return parallel.on_main(lambda: self._start(config, resume))

    def _start(self, config: AnyConfig, resume: bool) -> bool:
        self._refuse_links()
        wanted, status = config_hash(config), self.status or self._recovered(config)
        if status:
            where = str(self.path)
            if status.get("config_hash") != wanted:
                raise InputError(
                    "the run directory holds a run of another configuration" + self._difference(config),
                    file=where,
                    remedy="choose another directory with --run-dir, or remove this one",
                )
            if not resume and status.get("state") != _STARTING:
                state = "finished" if status.get("state") == "finished" else "unfinished"
                raise InputError(
                    f"the run directory already holds this run ({state})",
                    file=where,
                    remedy="continue it with --resume, or choose another one with --run-dir",
                )
        elif self.path.is_dir() and not self._is_blank():
            raise InputError(
                "the run directory is not empty and holds no run",
                file=str(self.path),
                remedy="choose another directory with --run-dir",
            )
        # First what says whose the folder is: from here on a kill leaves a run that can go on.
        make_folder(self.path)
        if not status:
            status = {"state": _STARTING, "config_hash": wanted, "seed": config.training.seed}
        write(self / "status.json", json.dumps(status, indent=2))
        for folder in (self.checkpoints, self.plots, self.states):
            make_folder(folder)
        sweep(self.path)
        write(self / "config.yaml", dump_yaml(config))
        write(self / "versions.json", json.dumps(versions(), indent=2))
        if status.get("state") == _STARTING:
            self.set_status(state="started")
            return False
        return True

    def _refuse_links(self) -> None:
        """Refuse links out of the folder: a run of somebody else's would have us write there."""
        inside = os.path.realpath(self.path) + os.sep
        for folder, below, files in os.walk(self.path):
            for path in (os.path.join(folder, name) for name in (*below, *files)):
                if os.path.islink(path) and not os.path.realpath(path).startswith(inside):
                    raise InputError(
                        "a link that leads out of the run directory",
                        file=path,
                        remedy="put the file or folder itself in its place",
                    )

    def _is_blank(self, *known: str) -> bool:
        """Whether there is nothing but what a run that was killed at its very start leaves."""
        folders = (self.checkpoints, self.plots, self.states)
        return all(
            path.name in (LOCK, *known)
            or path.name.endswith(".tmp")
            or (path in folders and not any(path.iterdir()))
            for path in self.path.iterdir()
        )

    def _recovered(self, config: AnyConfig) -> dict[str, Any]:
        """Return the status of a run of this configuration that has lost it, else nothing."""
        status = {"config_hash": config_hash(config), "seed": config.training.seed}
        try:
            text = (self / "config.yaml").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return {}
        # Older versions wrote the status last, and what a kill left of this file could be a piece.
        if dump_yaml(config).startswith(text) and self._is_blank(
            "config.yaml", "versions.json", "status.json"
        ):
            return {"state": _STARTING, **status}
        with suppress(InputError):
            if (self / "status.json").exists() and (config_hash(self.load_config()) == status["config_hash"]):
                warnings.warn(
                    f"{self / 'status.json'} is damaged; the run is taken to be unfinished", stacklevel=2
                )
                return {"state": "started", **status}
        return {}

    def check_data(self, digest: str, sets: Any, renew: bool = False) -> None:
        """Store the data's hash in ``data.json``, or compare with the stored one.

        Parameters
        ----------
        digest : str
            SHA-256 of what is trained on.
        sets : list
            What the sets are, as JSON can hold it.
        renew : bool
            Write the sets again: those that are not trained on may be others.

        Raises
        ------
        InputError
            If the data have changed, or the file is damaged.
        """
        file = self / "data.json"
        if file.exists():
            if (
                required_json(file, "sha256", remedy="remove it if the data are still the same")["sha256"]
                != digest
            ):
                raise InputError(
                    "the data have changed since this run was started",
                    file=str(self.path),
                    field="data",
                    remedy="restore the data files, or start another run directory",
                )
            if not renew:
                return
        write(file, json.dumps({"sha256": digest, "sets": sets}, indent=1))

    def describe_data(self, sets: Any) -> None:
        """Write in ``data.json`` what the sets are, after some of their entries have been left out."""
        file = self / "data.json"
        write(file, json.dumps({"sha256": required_json(file, "sha256")["sha256"], "sets": sets}, indent=1))

    def _difference(self, config: AnyConfig) -> str:
        """Name the first keys in which the stored configuration differs."""
        try:
            stored = read_yaml_mapping(self / "config.yaml")
        except InputError:
            return ""
        old, new = _flatten(stored), _flatten(config.model_dump(mode="json"))
        keys = [k for k in sorted({*old, *new}) if old.get(k) != new.get(k)]
        free = ("name", "description", "output.", "baselines.", "evaluation.", "card.")
        keys = [k for k in keys if not k.startswith(free)]
        return f" (they differ in {', '.join(keys[:3])})" if keys else ""

    def load_config(self) -> AnyConfig:
        """Read the stored configuration.

        Raises
        ------
        InputError
            If the folder is not a run directory.
        """
        file = self / "config.yaml"
        if not os.path.isfile(file):
            raise InputError(
                "not a run directory: there is no config.yaml in it",
                file=str(self.path),
                remedy="give the folder that 'deepchem-dft train' wrote",
            )
        return validate(read_yaml_mapping(file), file=str(file))

    @contextmanager
    def _logged(self) -> Iterator[None]:
        """Append this package's log records to ``log.txt``, errors included, while a run lasts."""
        file = Path(os.devnull) if parallel.rank() else self / "log.txt"
        with storing(file):
            handler = _LogFile(file, encoding="utf-8")
        handler.setFormatter(_InertFormatter("%(asctime)s %(levelname)s %(message)s"))
        logger = logging.getLogger("deepchem_dft")
        logger.addHandler(handler)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
        started = time.perf_counter()
        try:
            yield
            seconds = round(time.perf_counter() - started, 1)
            self.set_status(state="finished", seconds_of_last_start=seconds)
            LOGGER.info("finished in %.1f s", seconds)
        except DeepChemDFTError as error:
            LOGGER.error("%s", error)
            raise
        finally:
            logger.removeHandler(handler)
            with suppress(OSError):  # what is still to be written at the end
                handler.close()

    # -- history ---------------------------------------------------------------------------

    def read_history(self) -> list[dict[str, Any]]:
        """Return the rows of ``history.csv``, numbers as numbers and blanks as NaN.

        Raises
        ------
        InputError
            Naming file, line and column of what is damaged.
        """
        whole = ("epoch", "stage", "unconverged", "scf_solutions", "seed", "best", "evaluations")
        rows = read_rows(self / "history.csv", ("epoch", "loss"))
        return [{k: row.number(k, int if k in whole else float) for k in row} for row in rows]

    def write_history(self, rows: Sequence[dict[str, Any]], columns: Sequence[str] = HISTORY_COLUMNS) -> None:
        """Replace ``history.csv``."""
        lines = [",".join(columns)]
        for row in rows:
            cells = [row.get(key) for key in columns]
            missing = [c is None or (isinstance(c, float) and math.isnan(c)) for c in cells]
            # repr keeps all digits: a resumed run must be comparable to 1e-10.
            lines.append(",".join("" if m else repr(c) for c, m in zip(cells, missing)))
        text = "\n".join(lines) + "\n"
        parallel.on_main(lambda: write(self / "history.csv", text))


class _LogFile(logging.FileHandler):
    """A log that cannot be written stops no run: what cannot be done without will."""

    def handleError(self, record: logging.LogRecord) -> None:
        if self.lost is None:
            self.lost = record
            warnings.warn(f"{self.baseFilename} cannot be written; the run goes on", stacklevel=1)

    lost: logging.LogRecord | None = None


def _flatten(content: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, list):
        items = ((str(i), v) for i, v in enumerate(content))  # type: ignore[assignment]
    else:
        return {prefix.rstrip("."): content}
    out: dict[str, Any] = {}
    for key, value in items:
        out.update(_flatten(value, f"{prefix}{key}."))
    return out


def versions() -> dict[str, Any]:
    """Return the versions of all that can change a number, and the git commit if there is one."""
    out: dict[str, Any] = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("deepchem_dft", "torch", "deepchem", "pyscf", "numpy", "scipy", "e3nn", "h5py"):
        try:
            out[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            out[package] = None
    return out | {"cpu_count": os.cpu_count(), "git_commit": _git_commit()}


def _git_commit() -> str | None:
    here = Path(__file__).resolve().parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=10
        )
        if commit.returncode:
            return None
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", "rundir.py"], cwd=here, capture_output=True, timeout=10
        )
        if tracked.returncode:
            return None  # installed inside somebody else's repository
        dirty = subprocess.run(
            ["git", "status", "--porcelain", "--", ".."], cwd=here, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+changes" if dirty.stdout.strip() else "")
