"""The last orbitals of every system: where the next self-consistent field starts."""

from __future__ import annotations

from typing import Any

from ..scf import SCFState
from ..scf.frozen import FrozenDensity


class StateStore:
    """The last converged orbitals of each system, and the optimiser step they belong to.

    Attributes
    ----------
    frozen : dict
        Densities of those orbitals on the grid, where they were needed. They follow from the
        orbitals, so that checkpoints and copies leave them out.
    """

    def __init__(self) -> None:
        self._items: dict[str, tuple[SCFState, int]] = {}
        self.frozen: dict[str, FrozenDensity] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "frozen": {}}

    def get(self, key: str) -> tuple[SCFState, int] | None:
        """Return ``(state, step)``, or None for a system not solved yet."""
        return self._items.get(key)

    def put(self, key: str, state: SCFState, step: int) -> None:
        """Keep a state."""
        self.frozen.pop(key, None)
        self._items[key] = (state, step)

    def drop(self, key: str) -> None:
        """Forget a system."""
        self.frozen.pop(key, None)
        self._items.pop(key, None)

    def clear(self) -> None:
        """Forget all systems."""
        self.frozen.clear()
        self._items.clear()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data and tensors."""
        return {k: {"state": s.to_dict(), "step": step} for k, (s, step) in self._items.items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> StateStore:
        """Undo :meth:`to_dict`."""
        store = cls()
        for key, item in data.items():
            store.put(key, SCFState.from_dict(item["state"]), item["step"])
        return store
