"""Functionals that travel between processes, and the solutions that are kept on disk."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import InputError


@dataclass(frozen=True)
class Functional:
    """A functional that can be sent to another process.

    Attributes
    ----------
    label : str
        Name of its row in tables.
    key : str
        Identity: two functionals with one key have equal energies.
    payload : str or bytes
        A name libxc knows, or a pickled module.
    calibration : (float, float) or None
        Factor and floor (Ha) of an ensemble, which alone can tell how uncertain it is (see
        :class:`~deepchem_dft.xc.ensemble.EnsembleXC`).
    """

    label: str
    key: str
    payload: str | bytes = field(repr=False)
    calibration: tuple[float, float] | None = None

    @classmethod
    def named(cls, name: str, label: str | None = None) -> Functional:
        """Return a functional by name; raises ``FunctionalError`` for unknown ones.

        A trained functional (``zoo:NAME``) is read now, so that all processes use the same.
        """
        from ..xc.names import get_xc, is_trained

        module = get_xc(name)
        if is_trained(name):
            from ..zoo import card

            return replace(cls.trained(module, label or name), key=f"zoo:{card(name).key}")
        return cls(label or name, name.strip().lower(), name)

    @classmethod
    def trained(cls, module: Any, label: str = "trained") -> Functional:
        """Return a functional with the module's present parameters."""
        import torch

        from ..xc.ensemble import EnsembleXC

        digest = hashlib.sha256(repr(module).encode())
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        buffer = io.BytesIO()
        # torch.save, not pickle: sharing tensors by file descriptor would run out of them.
        torch.save(copy.deepcopy(module).cpu(), buffer)
        ensemble = isinstance(module, EnsembleXC)
        calibration = (module.calibration, module.floor) if ensemble else None
        return cls(label, f"module:{digest.hexdigest()[:32]}", buffer.getvalue(), calibration)

    def load(self) -> Any:
        """Return the name or the module, for ``KohnSham``."""
        if isinstance(self.payload, str):
            return self.payload
        import torch

        return torch.load(io.BytesIO(self.payload), weights_only=False)


@dataclass
class Solution:
    """Outcome of one self-consistent field calculation.

    ``energy`` is in Hartree and NaN unless ``converged``; ``seconds`` include making integrals
    for the first functional of a molecule. ``members`` are the energies (Ha) that the members of
    an ensemble give at its density; None for other functionals. ``notes`` is what has to be said
    beside the energy.
    """

    molecule: str
    functional: str
    name: str
    energy: float
    converged: bool
    status: str
    iterations: int
    seconds: float
    members: list[float] | None = None
    notes: list[str] | None = None


class EnergyCache:
    """Solutions on disk, one JSON object per line, so that a killed run loses nothing.

    Parameters
    ----------
    path : Path or None
        The file; None keeps solutions in memory only.

    Raises
    ------
    InputError
        If the file holds something else, to which nothing should be added.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._known: dict[tuple[str, str], Solution] = {}
        self._torn = False  # whether a kill has cut the last line short
        if path is None or not path.is_file():
            return
        text = path.read_text(encoding="utf-8", errors="replace")
        start = text[: len(_START)]
        if not _START.startswith(start):
            raise InputError("this is no file of solutions", file=str(path),
                             remedy="give the name of a new file")
        self._torn = bool(text) and not text.endswith("\n")
        for line in text.splitlines():
            # What a torn line said is computed again.
            with contextlib.suppress(ValueError, TypeError, KeyError):
                raw = json.loads(line)
                raw["energy"] = math.nan if raw["energy"] is None else raw["energy"]
                self._remember(Solution(**raw))

    def __len__(self) -> int:
        return len(self._known)

    def _remember(self, solution: Solution) -> None:
        self._known[solution.molecule, solution.functional] = solution

    def get(self, molecule: str, functional: str) -> Solution | None:
        """Look up a solution by molecule key and functional key."""
        return self._known.get((molecule, functional))

    def add(self, solution: Solution) -> None:
        """Remember a solution and append it to the file."""
        self._remember(solution)
        if self.path is None:
            return
        raw = asdict(solution)
        raw["energy"] = solution.energy if solution.converged else None
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write("\n" * self._torn + json.dumps(raw) + "\n")
        self._torn = False


#: How the file begins, whichever its first solution is.
_START = '{"molecule": '
