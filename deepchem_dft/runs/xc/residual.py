"""References from which the basis error of the parent is taken out, so that small bases can be trained in."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deepchem_dft.errors import InputError
from deepchem_dft.fitting.progress import Reporter
from deepchem_dft.models.xc.functional import starting_functional
from deepchem_dft.models.xc.samples import unique_systems
from deepchem_dft.runs.xc.entries import EntrySet
from deepchem_dft.runs.xc.functional import build_xc_model, named_start
from deepchem_dft.runs.xc.schema import RunConfig
from deepchem_dft.scf.many import Solver
from deepchem_dft.scf.solutions import EnergyRecord, Functional
from deepchem_dft.units import HARTREE_TO_KCAL

if TYPE_CHECKING:
    from deepchem_dft.data import DFTEntry
    from deepchem_dft.models import XCModel

#: Where more rows than this are further off than ``largest_shift``, the two are not one functional.
MOST_LOST = 0.2


def parent_of(config: RunConfig, model: "XCModel") -> Functional:
    """Return the functional whose basis error is meant: what training starts from, without dispersion."""
    if (named := named_start(config)) is not None:
        return named
    if model.xc is None:
        raise InputError(
            "a functional that starts from no conventional one has no published values",
            field="training.target",
            remedy="use target: total, or name a functional.xc",
        )
    functional = copy.deepcopy(model.functional)
    functional.dispersion = None
    return starting_functional(model.xc, model.config, functional)


def with_residual_targets(
    config: RunConfig, sets: Sequence[EntrySet], solver: Solver, reporter: Reporter
) -> list[EntrySet]:
    """Return sets whose references are shifted by the basis error of the parent.

    A reference becomes ``reference + (parent in this basis - parent as published)``. What training then
    makes small is learned part minus (reference - published parent), whatever the basis: its error is on both
    sides. Entries of boards have published values; others keep their references, but cannot be trained on.

    Rows where the two differ by more than ``training.largest_shift`` are different electronic states
    and left out, as are those with a system that does not converge.

    Parameters
    ----------
    config : RunConfig
        With ``training.target: residual`` and ``training.published``.
    sets : sequence of EntrySet
    solver : Solver
        Solves the parent for all systems; training at its densities finds them known.
    reporter : Reporter
        Told of what is left out.

    Raises
    ------
    InputError
        If an entry to train on has no published value, or most shifts are larger than a basis makes.
    """
    name = config.training.published or ""
    known = {id(e): published_value(e, name) for group in sets for e in group.entries}
    for group in sets:
        bad = next((e for e in group.entries if known[id(e)] is None), None)
        if group.role != "test" and bad is not None:
            raise InputError(
                f"there is no value of {name!r} for it",
                entry=bad.name,
                field="training.published",
                remedy="train on rows of a board, with one of its functionals; or use target: total",
            )
    model, options = build_xc_model(config), config.data
    parent = parent_of(config, model)
    # Training begins at the parent's densities, which are kept now.
    start = named_start(config) or starting_functional(model.xc, model.config, model.functional)
    frozen = config.training.resolved_stages()[0].mode == "frozen" and start.key == parent.key
    densities_for = Functional.trained(model.functional) if frozen else None
    reporter.phase("parent in this basis")
    solved: dict[Any, EnergyRecord] = {}
    judged = densities_for if config.evaluation.fixed_densities else None
    for trained, wanted in ((True, densities_for), (False, judged)):
        groups = [group for group in sets if (group.role != "test") is trained]
        systems = unique_systems(e for s in groups for e in s.entries if known[id(e)] is not None)
        molecules = {s.key: s.to_molecule(options.grid_level, options.density_fit) for s in systems}
        found = solver.solve(
            [(m, [parent]) for m in molecules.values()],
            keep_states=trained,
            densities_for=wanted,
            on_solution=reporter.solution,
        )
        solved |= {key: found[m.key, parent.key] for key, m in molecules.items()}
    shifts = {}
    for entry in (e for group in sets for e in group.entries):
        if (value := known[id(entry)]) is not None:
            shifts[id(entry)] = _shift(entry, value, solved)
    _check_parent(list(shifts.values()), name, parent.label, config.training.largest_shift)
    return [replace(group, entries=_kept(group, shifts, config, reporter)) for group in sets]


def published_value(entry: "DFTEntry", name: str) -> float | None:
    """Return a functional's published value of an entry, Ha; None if there is none."""
    from deepchem_dft.molnet import board

    if not entry.is_energy or "board" not in entry.tags:
        return None
    source = board(str(entry.tags["board"]))
    if name not in source.functionals:
        raise InputError(
            f"{source.name} has no values of {name!r}",
            field="training.published",
            remedy=f"use one of {', '.join(source.functionals)}",
        )
    return source.published(source.by_name[entry.name.partition(":")[2]])[name] / HARTREE_TO_KCAL


def _shift(entry: "DFTEntry", published: float, solved: Mapping[Any, EnergyRecord]) -> float:
    """Return the parent's value in this basis minus the published one, Ha; NaN if one did not converge."""
    energies = [solved[s.key].energy if solved[s.key].converged else math.nan for s in entry.get_systems()]
    return sum(c * e for c, e in zip(entry.coefficients, energies, strict=True)) - published


def _check_parent(shifts: Sequence[float], name: str, parent: str, largest: float) -> None:
    sizes = [abs(s) * HARTREE_TO_KCAL for s in shifts if not math.isnan(s)]
    lost = sum(size > largest for size in sizes)
    if sizes and lost > MOST_LOST * len(sizes):
        raise InputError(
            f"{parent} differs from the published values of {name} by more than {largest:g} kcal/mol "
            f"in {lost} of {len(sizes)} rows",
            field="training.published",
            remedy="name the functional that training starts from, use a larger basis (diffuse functions "
            "for anions), or raise training.largest_shift",
        )


def _kept(
    group: EntrySet, shifts: Mapping[int, float], config: RunConfig, reporter: Reporter
) -> "list[DFTEntry]":
    """Return the entries of a set that can be used, with their new references."""
    from deepchem_dft.molnet.entries import replaced

    out = []
    for entry in group.entries:
        shift = shifts.get(id(entry))
        if shift is None:
            out.append(entry)
        elif math.isnan(shift):
            reporter.note(f"left out, not converged with the parent: {entry.name}")
        elif abs(shift) * HARTREE_TO_KCAL > config.training.largest_shift:
            size = shift * HARTREE_TO_KCAL
            reporter.note(
                f"left out, another state than the published one ({size:+.1f} kcal/mol): {entry.name}"
            )
        else:
            tags = {**entry.tags, "basis_shift_kcal": round(shift * HARTREE_TO_KCAL, 6)}
            out.append(replaced(entry, true_val=entry.label + shift, tags=tags))
    if not out:
        raise InputError(
            f"no entry of {group.label} is left",
            field=f"data.{group.role}",
            remedy="see what was left out above, or use target: total",
        )
    return out
