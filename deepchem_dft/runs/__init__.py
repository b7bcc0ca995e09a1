"""Runs: a configuration in, a trained functional with tables and figures out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import load_config
    from .loading import load_functional, load_model
    from .pipeline import run
    from .schema import RunConfig

_PLACES = {
    "RunConfig": "schema",
    "load_config": "config",
    "load_functional": "loading",
    "load_model": "loading",
    "run": "pipeline",
}
__all__ = ["RunConfig", "load_config", "load_functional", "load_model", "run"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
