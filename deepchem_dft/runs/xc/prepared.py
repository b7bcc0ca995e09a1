"""Densities of a run's systems, made once in parallel, kept in one file, and handed on."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepchem_dft import parallel
from deepchem_dft.errors import InputError
from deepchem_dft.files import replacing, storing, write
from deepchem_dft.fitting.progress import Reporter
from deepchem_dft.json_text import parse_json
from deepchem_dft.models.xc.functional import starting_functional
from deepchem_dft.models.xc.samples import unique_systems
from deepchem_dft.runs.xc.entries import EntrySet, load_sets
from deepchem_dft.runs.xc.functional import build_xc_model, named_start
from deepchem_dft.runs.xc.schema import RunConfig
from deepchem_dft.scf.many import Solver
from deepchem_dft.scf.solutions import Functional, solution_of

if TYPE_CHECKING:
    from deepchem_dft.data import DFTEntry
    from deepchem_dft.models import XCModel
    from deepchem_dft.molecule import Molecule

FORMAT = "deepchem_dft/prepared/1"
#: Densities of a few hundred kB are usual; a member beyond this size, in bytes, is something else.
LARGEST = 1 << 30
_NOTE, _ENERGIES = "note.json", "energies.jsonl"
_DENSITY = re.compile(r"[0-9a-f]{24}-[A-Za-z0-9_]{1,200}\.density\.pt")
#: A fixed time of all members, so that equal content makes equal files.
_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass
class Prepared:
    """What :func:`prepare` has made.

    Attributes
    ----------
    path : Path
    systems : int
        In the file.
    unconverged : list of str
        Systems that are not, with their status.
    size : int
        Of the file, bytes.
    seconds : float
        Of all self-consistent fields, integrals included.
    """

    path: Path
    systems: int = 0
    unconverged: list[str] = field(default_factory=list)
    size: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Kind:
    """What a density is boiled down for: it serves all functionals of one kind.

    Attributes
    ----------
    learned : str
        Form of the learned part.
    ranges : tuple of str
        Of exact exchange: ``full``, or omega.
    attenuation : str
        Of the parent's exchange, if that is of two ranges; else empty.
    """

    learned: str
    ranges: tuple[str, ...]
    attenuation: str

    @classmethod
    def of(cls, functional: Any) -> Kind:
        """Return the kind of a functional."""
        learned = getattr(functional, "nnxc", functional)
        parent = getattr(getattr(learned, "parent", None), "name", "")
        form = ", ".join(filter(None, (type(learned).__name__, functional.family, parent)))
        ranges = sorted({"full" if w is None else f"{w:g}" for _, w in functional.exchange_terms})
        separation = getattr(learned, "ranges", None)
        return cls(form, tuple(ranges), "" if separation is None else separation.attenuation)

    def serves(self, other: Kind) -> bool:
        """Whether densities of this kind have all that another wants.

        Examples
        --------
        >>> wide = Kind("EnhancedXC, mgga, r2scan", ("0.3", "full"), "uniform")
        >>> narrow = Kind("EnhancedXC, mgga, r2scan", ("full",), "")
        >>> wide.serves(narrow), narrow.serves(wide)
        (True, False)
        """
        if self.learned != other.learned:
            return False
        if other.attenuation:
            return self == other
        return set(other.ranges) <= set(self.ranges)

    def __str__(self) -> str:
        return ", ".join(
            filter(None, (self.learned, f"exchange: {'+'.join(self.ranges) or 'none'}", self.attenuation))
        )


def prepare(
    config: RunConfig,
    out: Path,
    work: Path,
    reporter: Reporter | None = None,
    processes: int | None = None,
    solve: bool = True,
) -> Prepared:
    """Solve all training and validation systems of a configuration, and pack what training needs.

    The systems are solved with what the functional is before training. What is found is in ``work`` at
    once: killed anywhere, or out of disk, the same call goes on. Under torchrun all processes call this and
    share the systems. Small systems come first.

    Parameters
    ----------
    config : RunConfig
    out : Path
        The file to write, a zip of energies (JSON lines) and of a density per system.
    work : Path
        Folder of what is found on the way.
    reporter : Reporter, optional
    processes : int, optional
        Workers; default all cores.
    solve : bool
        False packs what has been found so far.

    Raises
    ------
    InputError
        If no training stage uses densities.
    StorageError
        If there is no room.
    """
    reporter = reporter or Reporter()
    if all(stage.mode != "frozen" for stage in config.training.resolved_stages()):
        raise InputError(
            "no stage trains at fixed densities",
            field="training.stages",
            remedy="add a stage with mode: frozen, which alone uses prepared densities",
        )
    model = build_xc_model(config)
    start = named_start(config) or starting_functional(model.xc, model.config, model.functional)
    target = Functional.trained(model.functional)
    judged = config.evaluation.fixed_densities
    entries = [e for s in load_sets(config.data) if judged or s.role != "test" for e in s.entries]
    molecules = molecules_of(config, entries)
    parallel.on_main(lambda: work.mkdir(parents=True, exist_ok=True))
    reporter.phase("preparing densities")
    with Solver(
        processes, tol=config.training.scf_tol, cache=work / _ENERGIES, states=work / "states"
    ) as solver:
        if config.data.prepared is not None:
            take_over(Path(config.data.prepared), model, solver)
        if solve:
            solver.solve(
                [(m, [start]) for m in molecules],
                densities_for=target,
                small_first=True,
                on_solution=reporter.solution,
            )
        return parallel.on_main(
            lambda: _pack(out, Kind.of(model.functional), config, molecules, start, solver)
        )


def only_prepared(
    config: RunConfig, sets: Sequence[EntrySet], solver: Solver, reporter: Reporter
) -> list[EntrySet]:
    """Return sets without the rows that have a system whose density is not known.

    Raises
    ------
    InputError
        If nothing is left to train on.
    """
    model = build_xc_model(config)
    start = named_start(config) or starting_functional(model.xc, model.config, model.functional)
    known: dict[Any, bool] = {}

    def is_known(system: Any) -> bool:
        if system.key not in known:
            molecule = system.to_molecule(config.data.grid_level, config.data.density_fit)
            known[system.key] = solver.cache.get(molecule.key, start.key) is not None
        return known[system.key]

    kept, lost = [], 0
    for group in sets:
        entries = [e for e in group.entries if not e.is_energy or all(map(is_known, e.get_systems()))]
        lost += len(group.entries) - len(entries)
        if entries:
            kept.append(replace(group, entries=entries))
    if lost:
        reporter.note(f"left out, not prepared: {lost} of {sum(len(s.entries) for s in sets)} rows")
    if not any(group.role == "train" for group in kept):
        raise InputError(
            "no row to train on is prepared",
            field="data.only_prepared",
            remedy="leave it out, or prepare more",
        )
    return kept


def molecules_of(config: RunConfig, entries: Sequence[DFTEntry]) -> list[Molecule]:
    """Return the molecules of all energies among some entries, each once, as the configuration wants them."""
    data = config.data
    systems = unique_systems([e for e in entries if e.is_energy])
    return [system.to_molecule(data.grid_level, data.density_fit) for system in systems]


def _pack(
    out: Path, kind: Kind, config: RunConfig, molecules: Sequence[Molecule], start: Functional, solver: Solver
) -> Prepared:
    made = Prepared(out)
    lines: list[str] = []
    note = {
        "format": FORMAT,
        "kind": asdict(kind),
        "functional": start.label,
        "basis": config.data.basis or "as in the data",
        "grid_level": config.data.grid_level,
    }
    with storing(out), replacing(out) as draft, zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
        for molecule in molecules:
            solution = solver.cache.get(molecule.key, start.key)
            path = solver.path(molecule, start, "density")
            if solution is None or path is None:
                continue
            made.seconds += solution.seconds
            if not solution.converged:
                made.unconverged.append(f"{molecule.name} ({solution.status})")
                continue
            lines.append(json.dumps(asdict(solution)))
            archive.writestr(zipfile.ZipInfo(path.name, _TIME), path.read_bytes(), zipfile.ZIP_DEFLATED)
            made.systems += 1
        for name, text in ((_ENERGIES, "\n".join(lines) + "\n"), (_NOTE, json.dumps(note, indent=1))):
            archive.writestr(zipfile.ZipInfo(name, _TIME), text, zipfile.ZIP_DEFLATED)
    made.size = out.stat().st_size
    return made


def take_over(path: Path, model: XCModel, solver: Solver) -> int:
    """Give a solver the energies and densities of a prepared file; return how many there are.

    What the solver knows already stays. Solutions of other functionals, bases or grids do no harm: they are
    other calculations.

    Raises
    ------
    InputError
        If the file is missing or damaged, or was made for another kind of functional.
    """
    return parallel.on_main(lambda: _take_over(path, Kind.of(model.functional), solver))


def _kind_in(note: dict[str, Any]) -> Kind:
    """Return the kind that a file names; raises ``ValueError`` for what is none."""
    made = note.get("kind")
    if not isinstance(made, dict) or set(made) != {"learned", "ranges", "attenuation"}:
        raise ValueError("it does not say what for its densities are")
    return Kind(str(made["learned"]), tuple(map(str, made["ranges"])), str(made["attenuation"]))


def _take_over(path: Path, kind: Kind, solver: Solver) -> int:
    remedy = "make it with 'deepchem-dft prepare', or leave data.prepared out"
    where = {"file": str(path), "field": "data.prepared", "remedy": remedy}
    if solver.states is None:
        raise ValueError("the solver has no folder of states")
    try:
        with zipfile.ZipFile(path) as archive:
            note = parse_json(archive.read(_NOTE).decode("utf-8"))
            if not isinstance(note, dict) or note.get("format") != FORMAT:
                raise InputError("this is no file of prepared densities", **where)
            made = _kind_in(note)
            if not made.serves(kind):
                raise InputError(
                    f"its densities are for functionals of another kind ({str(made)[:150]}, not {kind})",
                    **where,
                )
            lines = archive.read(_ENERGIES).splitlines()
            members = [m for m in archive.infolist() if _DENSITY.fullmatch(m.filename)]
            solver.states.mkdir(parents=True, exist_ok=True)
            for member in members:
                place = solver.states / member.filename
                if not place.is_file() and member.file_size <= LARGEST:
                    write(place, archive.read(member))
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, ValueError, EOFError) as error:
        raise InputError(f"it cannot be read ({error})", **where) from None
    except FileNotFoundError:
        raise InputError("the file does not exist", **where) from None
    for line in lines:
        solution = solution_of(line)
        if solution is not None and solver.cache.get(solution.molecule, solution.functional) is None:
            solver.cache.add(solution)
    return len(members)
