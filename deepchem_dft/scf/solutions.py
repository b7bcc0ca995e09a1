"""Functionals that travel between processes, and the solutions that are kept on disk."""

import copy
import hashlib
import io
import json
import math
import os
import warnings
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from deepchem_dft.errors import InputError, StorageError
from deepchem_dft.locks import GrowingFile


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
    kinds : tuple of (str, (float, float))
        The same for kinds of values that have their own.
    """

    label: str
    key: str
    payload: str | bytes = field(repr=False)
    calibration: tuple[float, float] | None = None
    kinds: tuple[tuple[str, tuple[float, float]], ...] = ()

    @classmethod
    def named(cls, name: str, label: str | None = None) -> "Functional":
        """Return a functional by name; raises ``FunctionalError`` for unknown ones.

        A trained functional (``zoo:NAME``) is read now, so that all processes use the same.
        """
        from deepchem_dft.xc.names import get_xc, is_trained

        module = get_xc(name)
        if is_trained(name):
            own = cls.trained(module, label or name)
            return replace(own, key=getattr(module, "identity", own.key))
        return cls(label or name, name.strip().lower(), name)

    @classmethod
    def trained(cls, module: Any, label: str = "trained") -> "Functional":
        """Return a functional with the module's present parameters."""
        import torch

        from deepchem_dft.xc.ensemble import EnsembleXC

        digest = hashlib.sha256(repr(module).encode())
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        buffer = io.BytesIO()
        # torch.save, not pickle: sharing tensors by file descriptor would run out of them.
        torch.save(copy.deepcopy(module).cpu(), buffer)
        ensemble = isinstance(module, EnsembleXC)
        calibration = module.calibration_of() if ensemble else None
        kinds = tuple(module.by_kind.items()) if ensemble else ()
        return cls(label, f"module:{digest.hexdigest()[:32]}", buffer.getvalue(), calibration, kinds)

    def calibration_of(self, kind: Any) -> tuple[float, float] | None:
        """Return factor and floor (Ha) of a kind of value; None if this is no ensemble."""
        return dict(self.kinds).get(kind, self.calibration)

    def load(self) -> Any:
        """Return the name or the module, for ``KohnSham``."""
        if isinstance(self.payload, str):
            return self.payload
        import torch

        return torch.load(io.BytesIO(self.payload), weights_only=False)


@dataclass
class EnergyRecord:
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

    The file is kept from other processes until :meth:`close`. A line that is damaged counts as
    absent, with a warning; the last one, which a kill cut short, is dropped.

    Parameters
    ----------
    path : Path or None
        The file; None keeps solutions in memory only.

    Raises
    ------
    InputError
        If the file holds something else, to which nothing should be added, or another process has
        it.
    StorageError
        If it can neither be written nor read.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._known: dict[tuple[str, str], EnergyRecord] = {}
        self._file: GrowingFile | None = None
        self._refused: StorageError | None = None  # a file of someone else's that is only read
        if path is None:
            return
        try:
            self._file = GrowingFile(path)
        except StorageError as error:
            if not os.access(path, os.R_OK) or not path.is_file():
                raise
            self._refused = error
        try:
            self._read(path)
        except BaseException:
            self.close()
            raise

    def _read(self, path: Path) -> None:
        raw = path.read_bytes() if path.is_file() else b""
        if not _START.startswith(raw[: len(_START)]):
            raise InputError(
                "this is no file of solutions", file=str(path), remedy="give the name of a new file"
            )
        whole, _, torn = raw.rpartition(b"\n")
        if torn and self._file is not None:
            self._file.cut(len(raw) - len(torn))
        bad = []
        for number, line in enumerate(whole.split(b"\n") if whole else (), start=1):
            solution = solution_of(line)
            if solution is not None:
                self._remember(solution)
            elif line.strip():
                bad.append(number)
        if torn:
            warnings.warn(f"{path}: the last line was cut short, and is dropped", stacklevel=3)
        if bad:
            lines = ", ".join(map(str, bad[:5])) + ", ..." * (len(bad) > 5)
            warnings.warn(f"{path}: damaged and left out: line {lines}", stacklevel=3)

    def __len__(self) -> int:
        return len(self._known)

    def _remember(self, solution: EnergyRecord) -> None:
        self._known[solution.molecule, solution.functional] = solution

    def get(self, molecule: str, functional: str) -> EnergyRecord | None:
        """Look up a solution by molecule key and functional key."""
        return self._known.get((molecule, functional))

    def add(self, solution: EnergyRecord) -> None:
        """Remember a solution and append it to the file.

        Raises
        ------
        StorageError
            If there is no room; what was in the file is still there.
        """
        self._remember(solution)
        if self._refused is not None:
            raise self._refused
        if self._file is None:
            return
        raw = asdict(solution)
        raw["energy"] = solution.energy if solution.converged else None
        self._file.write(json.dumps(raw).encode() + b"\n")

    def close(self) -> None:
        """Give the file free for others."""
        if self._file is not None:
            self._file.close()


def solution_of(line: bytes) -> EnergyRecord | None:
    """Return what a line says; nothing if it is damaged."""
    try:
        raw = json.loads(line)
        raw["energy"] = math.nan if raw["energy"] is None else raw["energy"]
        found = EnergyRecord(**raw)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    texts = (found.molecule, found.functional, found.name, found.status)
    numbers = (found.energy, found.iterations, found.seconds, *(found.members or ()))
    right = (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(n, (int, float)) for n in numbers)
        and isinstance(found.converged, bool)
        and (math.isfinite(found.energy) or not found.converged)
        and (found.members is None or isinstance(found.members, list))
        and (
            found.notes is None
            or isinstance(found.notes, list)
            and all(isinstance(note, str) for note in found.notes)
        )
    )
    if not right:
        return None
    return found if found.converged else replace(found, energy=math.nan)


#: How the file begins, whichever its first solution is.
_START = b'{"molecule": '
