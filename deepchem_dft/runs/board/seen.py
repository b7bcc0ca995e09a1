"""Which rows of a board a functional has learned from, as its run or its card tells."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepchem_dft.data.boards import Board
from deepchem_dft.errors import InputError
from deepchem_dft.runs.xc.entries import formula_of, select
from deepchem_dft.runs.xc.schema import DatasetRef


@dataclass
class Training:
    """What a functional was trained and selected on.

    Attributes
    ----------
    names : set of str
        Entries.
    formulas : set of str
        Sum formulas with charges of all their systems.
    missing : list of str
        Data that could not be read again.
    """

    names: set[str] = field(default_factory=set)
    formulas: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)

    def has(self, board: Board, row: int) -> bool:
        """Return whether it holds a row of a board: by name, or all its molecules by sum formula and charge.

        Rows of atoms alone are known by their atoms and ions.
        """
        if f"{board.name}:{board.rows[row].name}" in self.names:
            return True
        if not self.formulas:
            return False
        systems = [board.system(number) for number, _ in board.rows[row].members]
        molecules = [s for s in systems if len(s.symbols) > 1] or systems
        return all(formula_of(s) in self.formulas for s in molecules)


def training_of(references: Iterable[Mapping[str, Any] | str | DatasetRef]) -> Training:
    """Return what references to data, as in a configuration, stand for."""
    found = Training()
    for one in references:
        try:
            ref = one if isinstance(one, DatasetRef) else DatasetRef.model_validate(one)
            entries = select(ref)
        except (InputError, ValueError, OSError):  # a file that was never here, or of another version
            found.missing.append(str(one)[:100])
            continue
        found.names |= {entry.name for entry in entries}
        found.formulas |= {formula_of(s) for entry in entries for s in entry.get_systems()}
    return found


def training_of_name(name: str) -> Training:
    """Return what a functional given by name was trained on; nothing for conventional ones.

    Parameters
    ----------
    name : str
        As after ``--xc``: ``zoo:NAME``, a file of weights, or a name libxc knows.
    """
    from deepchem_dft import zoo
    from deepchem_dft.xc.names import is_trained

    if not is_trained(name):
        return Training()
    path = name if Path(name).suffix == ".safetensors" else name.partition(":")[2]
    return training_of_config(zoo.card(path).training.get("config", {}))


def training_of_config(config: Mapping[str, Any]) -> Training:
    """Return what the section ``data`` of a configuration stands for: training and validation."""
    data = config.get("data", {})
    roles: Sequence[Any] = [data.get(role) or [] for role in ("train", "valid")]
    return training_of(ref for refs in roles for ref in (refs if isinstance(refs, list) else [refs]))
