"""Data sets made once and kept on disk, so that others see all of one or nothing."""

import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from deepchem_dft.molecule.cache import cache_dir

logger = logging.getLogger(__name__)

_DRAFT, _STALE_SECONDS = ".draft-", 86_400.0


def made_once(home: Path, key: str, make: Callable[[Path], None], opened: Callable[[Path], Any]) -> Any:
    """Return ``opened(home / key)``, which ``make`` fills if it is not there or damaged.

    Parameters
    ----------
    home : Path
    key : str
        Hash of all that the content depends on.
    make : callable
        Fills an empty folder; whatever it raises, nothing of it is left.
    opened : callable
        Reads a folder, and raises anything if it is damaged.

    Raises
    ------
    OSError
        If ``home`` cannot be written.
    """
    final = home / key
    if final.is_dir():
        try:
            return opened(final)
        except Exception:  # a damaged or planted file can look like anything
            logger.warning("%s is damaged and made anew", final)
            shutil.rmtree(final, ignore_errors=True)
    home.mkdir(parents=True, exist_ok=True)
    _sweep(home)
    draft = Path(tempfile.mkdtemp(dir=home, prefix=_DRAFT))
    try:
        make(draft)
        os.replace(draft, final)  # atomic: another process sees all of it or nothing
    except OSError:
        if not final.is_dir():  # else another process was faster, with the same content
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return opened(final)


def _sweep(home: Path) -> None:
    """Remove what killed processes left of data sets they were making."""
    for draft in home.glob(f"{_DRAFT}*"):
        with suppress(OSError):
            if time.time() - draft.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(draft, ignore_errors=True)


def code_digest() -> bytes:
    """Return a hash of the code that makes data sets."""
    digest = hashlib.sha256()
    package = Path(__file__).resolve().parents[1]
    code = [path for room in ("data", "molnet") for path in (package / room).glob("*.py")]
    for path in sorted(code):
        digest.update(path.read_bytes())
    return digest.digest()


def default_save_dir() -> str | None:
    """Return DeepChem's data folder if it is set, else the cache's; None if there is none."""
    if folder := os.environ.get("DEEPCHEM_DATA_DIR"):
        return folder
    home = cache_dir()
    return None if home is None else str(home / "molnet")
