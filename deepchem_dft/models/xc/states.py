"""The last orbitals of every system: where the next self-consistent field starts."""

from collections.abc import Iterable, Iterator
from typing import Any

from deepchem_dft.scf import SCFState
from deepchem_dft.scf.frozen.solution import FrozenSolution, ReferencePotential


class StateStore:
    """The last converged orbitals of each system, and the optimiser step they belong to.

    Attributes
    ----------
    held : dict of FrozenSolution
        Densities of those orbitals, where they were needed. They follow from the orbitals and
        their references, so that checkpoints and copies leave them out.
    """

    def __init__(self) -> None:
        self._items: dict[str, tuple[SCFState, int]] = {}
        self.held: dict[str, FrozenSolution] = {}
        self._references: dict[str, ReferencePotential] = {}

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

    def hold(self, key: str, held: FrozenSolution) -> None:
        """Keep the density of a state that was put in before."""
        self.held[key], self._references[key] = held, held.reference

    def reference(self, key: str) -> ReferencePotential | None:
        """Return the reference of a density that is, or before a resume was, held."""
        return self._references.get(key)

    def _let_go(self, key: str) -> None:
        self.held.pop(key, None)
        self._references.pop(key, None)

    def clear(self) -> None:
        """Forget all systems."""
        self.held.clear()
        self._references.clear()
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
            if key in self._references:
                data[key]["anchor"] = self._references[key].to_dict()
        return data

    def update(self, data: dict[str, Any]) -> None:
        """Add what :meth:`to_dict` returned."""
        for key, item in data.items():
            self.put(key, SCFState.from_dict(item["state"]), item["step"])
            if "anchor" in item:
                self._references[key] = ReferencePotential(**item["anchor"])

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "StateStore":
        """Undo :meth:`to_dict`."""
        store = cls()
        store.update(data)
        return store
