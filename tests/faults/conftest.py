"""Commands small enough to be performed hundreds of times."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from .case import Case
from .inputs import TRAININGS, command, training, write_inputs


@pytest.fixture(scope="session")
def inputs(tmp_path_factory) -> Path:
    """A folder with what the commands read."""
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="session")
def finished(inputs, tmp_path_factory) -> Callable[[str], Path]:
    """Return ``f(kind) -> Path`` of a finished run."""

    @cache
    def get(kind: str) -> Path:
        folder = tmp_path_factory.mktemp("finished")
        status, err = training(inputs, kind).perform(folder)
        assert status == 0, err
        return folder / "run"

    return get


@pytest.fixture(scope="session")
def cases(inputs, finished, tmp_path_factory) -> Callable[[str], Case]:
    """Return ``f(name) -> Case`` with known results."""

    @cache
    def get(name: str) -> Case:
        case = training(inputs, name) if name in TRAININGS else command(inputs, name, finished)
        return case.known(tmp_path_factory.mktemp("known") / "out")

    return get
