"""The kinds of runs: one row each. Everything else of a kind is in its schema and its run."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepchem_dft.runs.base import Run
    from deepchem_dft.runs.section import BaseRunConfig


@dataclass(frozen=True)
class Kind:
    """A kind of run.

    Attributes
    ----------
    name : str
        What the key ``model`` of a configuration says.
    about : str
        What its data are.
    trained : str
        What it trains, for reports.
    places : (str, str)
        Modules and names of the schema (a ``BaseRunConfig``) and of the run (a ``Run``), which are
        imported when they are needed.
    """

    name: str
    about: str
    trained: str
    places: tuple[str, str]

    @property
    def schema(self) -> "type[BaseRunConfig]":
        """What a configuration may say."""
        return _found(self.places[0])

    @property
    def run(self) -> "type[Run]":
        """How data are read, and a model is trained, evaluated and drawn."""
        return _found(self.places[1])


#: By the value of the key ``model``; a file without the key is of the first kind.
KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "xc",
            "real molecules",
            "functional",
            ("deepchem_dft.runs.xc.schema:RunConfig", "deepchem_dft.runs.xc.run:FunctionalRun"),
        ),
        Kind(
            "ksr",
            "one-dimensional molecules",
            "functional in one dimension (KSR)",
            ("deepchem_dft.runs.ksr.schema:LatticeRunConfig", "deepchem_dft.runs.ksr.run:LatticeRun"),
        ),
        Kind(
            "hamiltonian",
            "Kohn-Sham matrices",
            "Kohn-Sham matrices",
            (
                "deepchem_dft.runs.hamiltonian.schema:HamiltonianRunConfig",
                "deepchem_dft.runs.hamiltonian.run:HamiltonianRun",
            ),
        ),
        Kind(
            "deq",
            "properties of molecules and crystals",
            "deep-equilibrium property model",
            ("deepchem_dft.runs.deq.schema:PropertyRunConfig", "deepchem_dft.runs.deq.run:PropertyRun"),
        ),
    )
}


def kind_of(config: "BaseRunConfig") -> Kind:
    """Return the kind of a configuration."""
    return KINDS[getattr(config, "model", "xc")]


def _found(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
