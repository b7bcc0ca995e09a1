"""Energies of reactions, with the uncertainty of the difference where the functional knows it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from deepchem_dft.errors import InputError
from deepchem_dft.runs.reactions.equation import Reaction, counted
from deepchem_dft.units import HARTREE_TO_KCAL

if TYPE_CHECKING:
    from deepchem_dft.molecule.surroundings import Surroundings
    from deepchem_dft.scf.many import Solver
    from deepchem_dft.scf.solutions import EnergyRecord, Functional


@dataclass
class ReactionEnergy:
    """The energy of one reaction with one functional, Ha; NaN if a species did not converge.

    Attributes
    ----------
    reaction : Reaction
    functional : str
    left, right : float
        Energies of both sides.
    uncertainty : float or None
        Of right minus left, which ensembles alone know: members' errors that cancel are not in it.
    species : dict of str to float
        Total energies by name.
    unconverged, notes : list of str
        Species without an energy; what has to be said of the others.
    """

    reaction: Reaction
    functional: str
    left: float
    right: float
    uncertainty: float | None = None
    species: dict[str, float] = field(default_factory=dict)
    unconverged: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def energy(self) -> float:
        """Right minus left."""
        return self.right - self.left


def energies(
    reactions: Sequence[Reaction],
    functionals: "Sequence[Functional]",
    solver: "Solver",
    *,
    grid_level: int = 3,
    density_fit: bool | str | None = None,
    surroundings: "Surroundings | None" = None,
    on_solution: "Callable[[EnergyRecord, int, int], None] | None" = None,
) -> list[ReactionEnergy]:
    """Return the energy of every reaction with every functional; each species is solved once.

    Parameters
    ----------
    reactions : list of Reaction
    functionals : list of Functional
    solver : Solver
        With a ``cache``, what it holds is not solved again.
    grid_level : int
        PySCF's quadrature level.
    density_fit : None, bool or str
        As in ``Molecule``.
    surroundings : Surroundings, optional
        What all species are in.
    on_solution : callable, optional
        See :meth:`Solver.solve`.

    Raises
    ------
    InputError
        For electrons and bare nuclei in surroundings, where their energy is not zero.
    """
    from deepchem_dft.data import DFTEntry
    from deepchem_dft.runs.xc.entries import EntrySet
    from deepchem_dft.runs.xc.evaluate import Evaluation

    entries = []
    for reaction in reactions:
        real = [(c, t.system) for c, t in reaction.terms if t.system is not None]
        bare: dict[str, float] = {}
        for c, t in reaction.terms:
            if t.system is None:
                bare[t.name] = bare.get(t.name, 0.0) + c
        if bare and surroundings is not None:
            raise InputError(
                f"the energy of {next(iter(bare))} in {surroundings.description} is not known",
                field="solvent",
                remedy="leave the surroundings out, or write a reaction of molecules and ions",
            )
        entries.append(
            DFTEntry.create(
                "reaction",
                0.0,
                [system for _, system in real],
                coefficients=[c for c, _ in real],
                bare=bare,
                name=reaction.text,
            )
        )
    evaluation = Evaluation(solver, grid_level, density_fit, surroundings)
    records = evaluation.run([(EntrySet("test", "reactions", entries), list(functionals))], on_solution)
    keys = [(f, reaction) for f in functionals for reaction in reactions]
    out = []
    for (functional, reaction), record in zip(keys, records, strict=True):
        own = {
            t.name: evaluation.energy_of(t.system, functional)
            for _, t in reaction.terms
            if t.system is not None
        }
        left, right = (
            sum(t.count * own.get(t.name, 0.0) for t in s) for s in (reaction.left, reaction.right)
        )
        out.append(
            ReactionEnergy(
                reaction,
                functional.label,
                left,
                right,
                None if math.isnan(record.value) else record.uncertainty,
                own,
                record.unconverged,
                record.notes,
            )
        )
    return out


def as_data(found: Sequence[ReactionEnergy], **settings: Any) -> dict[str, Any]:
    """Return energies as plain data for JSON, the unit in every name; what is not known is None."""

    def finite(value: float | None, scale: float = 1.0) -> float | None:
        return value * scale if value is not None and math.isfinite(value) else None

    reactions = list({id(row.reaction): row.reaction for row in found}.values())
    out = []
    for reaction in reactions:
        species = [
            {
                "name": term.name,
                "coefficient": coefficient,
                "formula": counted(replace(term, count=1.0)),
                "charge": None if term.system is None else term.system.charge,
                "multiplicity": None if term.system is None else term.system.spin + 1,
                "multiplicity_assumed": term.assumed,
            }
            for coefficient, term in reaction.terms
        ]
        rows = [
            {
                "functional": row.functional,
                "converged": not row.unconverged,
                "energy_kcal_mol": finite(row.energy, HARTREE_TO_KCAL),
                "uncertainty_kcal_mol": finite(row.uncertainty, HARTREE_TO_KCAL),
                "left_hartree": finite(row.left),
                "right_hartree": finite(row.right),
                "species_hartree": {name: finite(value) for name, value in row.species.items()},
                "notes": [*row.unconverged, *row.notes],
            }
            for row in found
            if row.reaction is reaction
        ]
        out.append({"reaction": reaction.text, "species": species, "energies": rows})
    return {**settings, "reactions": out}
