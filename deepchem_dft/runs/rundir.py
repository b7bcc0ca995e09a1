"""The run directory: where everything about a run is kept, and who may write into it."""

from __future__ import annotations

import csv
import json
import logging
import math
import os
import platform
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path, PurePath
from typing import Any

from .. import parallel
from ..errors import DeepChemDFTError, InputError
from ..files import replacing
from ..sinks import csv_text, printable
from .config import AnyConfig, config_hash, dump_yaml, read_yaml_mapping, validate

LOGGER = logging.getLogger("deepchem_dft.runs")

#: Keys of a configuration that name files and folders.
_PLACES = ("file", "input", "dir")
#: Columns of history.csv, with units in the names.
HISTORY_COLUMNS = [
    "epoch", "stage", "learning_rate", "loss", "train_mae_kcal", "valid_mae_kcal", "valid_score",
    "unconverged", "scf_solutions", "seconds",
]  # fmt: skip


class _InertFormatter(logging.Formatter):
    """Without what a terminal obeys: logs are read on one, and hold names out of files."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class RunDirectory:
    """Files of one run; of several processes, number 0 alone writes them.

    Parameters
    ----------
    path : str or Path
        The folder. It is created by :meth:`start`.

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
        """What ``status.json`` says; empty if there is none."""
        try:
            return json.loads((self / "status.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def set_status(self, **values: Any) -> None:
        """Update ``status.json``; a reader never sees half of it."""
        parallel.on_main(lambda: write_atomically(
            self / "status.json", json.dumps({**self.status, **values}, indent=2)
        ))  # fmt: skip

    def start(self, config: AnyConfig, resume: bool = False) -> bool:
        """Claim the folder for a run.

        Parameters
        ----------
        config : RunConfig
            The resolved configuration.
        resume : bool
            Continue an unfinished run of the same configuration.

        Returns
        -------
        bool
            True if an earlier run is continued.

        Raises
        ------
        InputError
            If the folder holds a run that may not be overwritten, or other files.
        """
        return parallel.on_main(lambda: self._start(config, resume))

    def _start(self, config: AnyConfig, resume: bool) -> bool:
        wanted, status = config_hash(config), self.status
        if status:
            where = str(self.path)
            if status.get("config_hash") != wanted:
                raise InputError(
                    "the run directory holds a run of another configuration"
                    + self._difference(config),
                    file=where,
                    remedy="choose another directory with --run-dir, or remove this one",
                )
            if not resume:
                state = "finished" if status.get("state") == "finished" else "unfinished"
                raise InputError(
                    f"the run directory already holds this run ({state})",
                    file=where,
                    remedy="continue it with --resume, or choose another one with --run-dir",
                )
        elif self.path.is_dir() and any(self.path.iterdir()):
            raise InputError(
                "the run directory is not empty and holds no run",
                file=str(self.path),
                remedy="choose another directory with --run-dir",
            )
        for folder in (self.path, self.checkpoints, self.plots, self.states):
            folder.mkdir(parents=True, exist_ok=True)
        (self / "config.yaml").write_text(dump_yaml(config), encoding="utf-8")
        (self / "versions.json").write_text(json.dumps(versions(), indent=2))
        if not status:
            self.set_status(state="started", config_hash=wanted, seed=config.training.seed)
        return bool(status)

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
        if not file.is_file():
            raise InputError(
                "not a run directory: there is no config.yaml in it",
                file=str(self.path),
                remedy="give the folder that 'deepchem-dft train' wrote",
            )
        return validate(read_yaml_mapping(file), file=str(file))

    @contextmanager
    def logged(self) -> Iterator[None]:
        """Append this package's log records to ``log.txt``, errors included, while a run lasts.

        A run that ends without an error is marked as finished.
        """
        file = os.devnull if parallel.rank() else self / "log.txt"
        handler = logging.FileHandler(file, encoding="utf-8")
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
            handler.close()

    # -- history ---------------------------------------------------------------------------

    def read_history(self) -> list[dict[str, Any]]:
        """Return the rows of ``history.csv``, numbers as numbers and blanks as NaN."""
        whole = ("epoch", "stage", "unconverged", "scf_solutions", "seed", "best", "evaluations")
        return [
            {k: (int(v) if k in whole else float(v)) if v else math.nan for k, v in row.items()}
            for row in read_rows(self / "history.csv")
        ]

    def write_history(
        self, rows: Sequence[dict[str, Any]], columns: Sequence[str] = HISTORY_COLUMNS
    ) -> None:
        """Replace ``history.csv``."""
        lines = [",".join(columns)]
        for row in rows:
            cells = [row.get(key) for key in columns]
            missing = [c is None or (isinstance(c, float) and math.isnan(c)) for c in cells]
            # repr keeps all digits: a resumed run must be comparable to 1e-10.
            lines.append(",".join("" if m else repr(c) for c, m in zip(cells, missing)))
        text = "\n".join(lines) + "\n"
        parallel.on_main(lambda: write_atomically(self / "history.csv", text))


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a kill leaves the old content or the new, never a part."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping that a file of a run holds; empty if there is none, or a damaged one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table of a run by column; none if there is no such file."""
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as stream:
        return [{csv_text(str(k)): csv_text(v or "") for k, v in row.items()
                 if isinstance(v, str) or v is None}
                for row in csv.DictReader(stream)]  # fmt: skip


def without_places(value: Any) -> Any:
    """Keep names of files, not where they lie on somebody's disk.

    Examples
    --------
    >>> without_places({"data": [{"file": "/home/me/water.h5", "limit": 4}]})
    {'data': [{'file': 'water.h5', 'limit': 4}]}
    """
    if isinstance(value, dict):
        return {k: PurePath(v).name if k in _PLACES and isinstance(v, str) else without_places(v)
                for k, v in value.items()}  # fmt: skip
    return [without_places(v) for v in value] if isinstance(value, list) else value


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
    for package in ("deepchem_dft", "torch", "deepchem", "pyscf", "numpy", "scipy", "e3nn",
                    "h5py"):
        try:
            out[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            out[package] = None
    out["cpu_count"] = os.cpu_count()
    out["git_commit"] = _git_commit()
    return out


def _git_commit() -> str | None:
    here = Path(__file__).resolve().parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=10
        )
        if commit.returncode:
            return None
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", "rundir.py"],
            cwd=here, capture_output=True, timeout=10,
        )  # fmt: skip
        if tracked.returncode:
            return None  # installed inside somebody else's repository
        dirty = subprocess.run(
            ["git", "status", "--porcelain", "--", ".."],
            cwd=here, capture_output=True, text=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+changes" if dirty.stdout.strip() else "")
