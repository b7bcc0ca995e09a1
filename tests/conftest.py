"""What every test shares: one thread, fixed seeds, a private cache, and markers that skip."""

import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable

# Before any import of torch or numpy: BLAS and OpenMP read these once. One thread per process
# makes results reproducible to the last bit and leaves the cores to the other pytest workers.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")

# The process that starts the workers makes one cache for all of them; they inherit its name.
_OWNED_CACHE: str | None = None
if "PYTEST_XDIST_WORKER" not in os.environ:
    _OWNED_CACHE = tempfile.mkdtemp(prefix="deepchem-dft-tests-")
    os.environ["DEEPCHEM_DFT_CACHE"] = _OWNED_CACHE
    os.environ.pop("DEEPCHEM_DATA_DIR", None)  # it would go before our cache in molnet

import logging  # noqa: E402

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)

# A program, with an extra of its own.
collect_ignore = ["mutation"]

# DeepChem logs a line for every optional package it does not find.
logging.getLogger("deepchem").setLevel(logging.ERROR)

# Fixed examples: a failure in CI is a failure here. Deadlines, and how long it takes to make
# examples, only measure how busy the machine is.
hypothesis.settings.register_profile(
    "repeatable", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("repeatable")


def _why_no_gpu() -> str | None:
    return None if torch.cuda.is_available() else "no CUDA device"


def _why_no_dqc() -> str | None:
    from deepchem_dft.interop.dqc.engine import dqc_available

    available, reason = dqc_available()
    return None if available else reason


def _why_no_browser() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "firefox")
    return None if any(map(shutil.which, names)) else f"none of {', '.join(names)} is installed"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what cannot run here, and say why."""
    for marker, why_not in (("gpu", _why_no_gpu), ("dqc", _why_no_dqc), ("browser", _why_no_browser)):
        marked = [item for item in items if item.get_closest_marker(marker)]
        reason = why_not() if marked else None
        if reason:
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_unconfigure() -> None:
    if _OWNED_CACHE:
        shutil.rmtree(_OWNED_CACHE, ignore_errors=True)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Start every test from the same random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def eventually() -> Callable[[Callable[[], bool]], bool]:
    """Return ``f(condition) -> bool``: wait until it holds; an hour without is a hang."""

    def wait(condition: Callable[[], bool]) -> bool:
        end = time.monotonic() + 3600
        while not condition() and time.monotonic() < end:
            time.sleep(0.02)
        return condition()

    return wait
