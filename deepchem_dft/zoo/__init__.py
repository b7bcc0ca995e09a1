"""Trained functionals and networks: a file of weights and a card each, read without running code.

``names`` lists them, ``card`` tells about one, ``load`` rebuilds it, ``save`` adds another.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cards import Card
    from .shelf import card, functional, load, names, save

_HOME = {"Card": "cards", "card": "shelf", "functional": "shelf", "load": "shelf",
         "names": "shelf", "save": "shelf"}  # fmt: skip
__all__ = ["Card", "card", "functional", "load", "names", "save"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
