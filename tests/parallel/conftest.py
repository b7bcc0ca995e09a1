"""Starts scripts as torchrun does."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def torchrun():
    """Return ``f(script, *arguments, processes=2, restarts=0) -> CompletedProcess``."""

    def start(
        script: str, *arguments: object, processes: int = 2, restarts: int = 0
    ) -> subprocess.CompletedProcess:
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            str(processes),
            "--max-restarts",
            str(restarts),
            str(HERE / script),
        ]
        return subprocess.run(
            [*command, *map(str, arguments)], capture_output=True, text=True, timeout=3600
        )  # a hang, not a busy machine

    return start
