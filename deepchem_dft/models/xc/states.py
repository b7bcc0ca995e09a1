"""The last orbitals of every system: where the next self-consistent field starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from deepchem_dft.scf import SCFState
from deepchem_dft.scf.held import Anchor, HeldDensity


class StateStore:
    """The last converged orbitals of each system, and the optimiser step they belong to.

    Attributes
    ----------
    held : dict of HeldDensity
        Densities of those orbitals, where they were needed. They follow from the orbitals and
        their anchors, so that checkpoints and copies leave them out.
    """

    def __init__(self) -> None:
        self._items: dict[str, tuple[SCFState, int]] = {}
        self.held: dict[str, HeldDensity] = {}
        self._anchors: dict[str, Anchor] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "held": {}}

    def get(self, key: str) -> tuple[SCFState, int] | None:
        """Return ``(state, step)``, or None for a system not solved yet."""
        return self._items.get(key)

    def put(self, key: str, state: SCFState, step: int) -> None:
        """Keep a state."""
        self._let_go(key)
        self._items[key] = (state, step)

    def drop(self, key: str) -> None:
        """Forget a system."""
        self._let_go(key)
        self._items.pop(key, None)

    def hold(self, key: str, held: HeldDensity) -> None:
        """Keep the density of a state that was put in before."""
        self.held[key], self._anchors[key] = held, held.anchor

    def anchor(self, key: str) -> Anchor | None:
        """Return the anchor of a density that is, or before a resume was, held."""
        return self._anchors.get(key)

    def _let_go(self, key: str) -> None:
        self.held.pop(key, None)
        self._anchors.pop(key, None)

    def clear(self) -> None:
        """Forget all systems."""
        self.held.clear()
        self._anchors.clear()
        self._items.clear()

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def to_dict(self, keys: Iterable[str] | None = None) -> dict[str, Any]:
        """Return plain data and tensors, of some systems or of all."""
        chosen = self._items if keys is None else [k for k in keys if k in self._items]
        data: dict[str, Any] = {}
        for key in chosen:
            state, step = self._items[key]
            data[key] = {"state": state.to_dict(), "step": step}
            if key in self._anchors:
                data[key]["anchor"] = self._anchors[key].to_dict()
        return data

    def update(self, data: dict[str, Any]) -> None:
        """Add what :meth:`to_dict` returned."""
        for key, item in data.items():
            self.put(key, SCFState.from_dict(item["state"]), item["step"])
            if "anchor" in item:
                self._anchors[key] = Anchor(**item["anchor"])

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> StateStore:
        """Undo :meth:`to_dict`."""
        store = cls()
        store.update(data)
        return store
