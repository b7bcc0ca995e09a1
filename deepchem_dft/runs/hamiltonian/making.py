"""Hamiltonians of many geometries by PySCF: in parallel, survivable, in the order of the input."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from deepchem_dft.checks import choice
from deepchem_dft.data.properties import atoms, xtb
from deepchem_dft.data.properties.conformers import geometry
from deepchem_dft.data.properties.molecule_files import RawMolecule, count_molecules, read_molecules
from deepchem_dft.data.properties.streams import PathLike
from deepchem_dft.errors import DeepChemDFTError, InputError
from deepchem_dft.hamiltonian.files.journal import Journal, Record
from deepchem_dft.hamiltonian.files.sampling import normal_modes, relax
from deepchem_dft.hamiltonian.files.store import HamiltonianFile, write_samples
from deepchem_dft.hamiltonian.orbitals import orbital_layout
from deepchem_dft.hamiltonian.reference import Reference, version
from deepchem_dft.hamiltonian.sample import MATRICES, HamiltonianSample
from deepchem_dft.locks import compare_settings
from deepchem_dft.molecule.geometry import NUCLEAR_CHARGE, as_said, formula, parse_geometry
from deepchem_dft.molecule.reading.xyz import Frame
from deepchem_dft.parallel.pool import JobCount, in_order
from deepchem_dft.units import ANGSTROM_TO_BOHR, BOHR_TO_ANGSTROM
from deepchem_dft.xc.libxc import Libxc
from deepchem_dft.xc.nonlocality.terms import refuse_nonlocal

SAMPLING = ("none", "modes", "dynamics")


@dataclass(frozen=True)
class SamplingRecipe:
    """How Hamiltonians are made.

    Attributes
    ----------
    xc, basis : str
    grid_level : int
        PySCF's, of the quadrature.
    charge : int, optional
        Of each molecule. Default: what the comment line of an xyz frame says, or 0.
    sampling : {"none", "modes", "dynamics"}
        Which geometries: those given; displaced along the normal modes about the minimum of the
        same functional and basis; from Langevin dynamics on the GFN2-xTB surface.
    temperatures : tuple of float
        Kelvin, with sampling.
    samples : int
        Geometries per molecule and temperature, with sampling.
    seed : int
    forces : bool
        Whether forces are wanted, too (they take about as long as the rest).
    """

    xc: str = "pbe"
    basis: str = "def2-svp"
    grid_level: int = 3
    charge: int | None = None
    sampling: str = "none"
    temperatures: tuple[float, ...] = (300.0,)
    samples: int = 100
    seed: int = 0
    forces: bool = False

    def __post_init__(self) -> None:
        remedy = "name one without VV10, such as pbe"
        refuse_nonlocal(Libxc(self.xc), "a reference of Hamiltonians", remedy, field="xc")
        choice(self.sampling, SAMPLING, "sampling")
        if self.sampling != "none" and not (
            self.samples > 0 and self.temperatures and min(self.temperatures) > 0
        ):
            raise InputError("samples and temperatures must be positive", field="temperature")

    @property
    def per_molecule(self) -> int:
        """Geometries of each molecule."""
        return 1 if self.sampling == "none" else self.samples * len(self.temperatures)


@dataclass(frozen=True)
class _Geometry:
    name: str
    raw: RawMolecule | None
    numbers: Any = None
    positions: Any = None
    charge: int = 0


def make_hamiltonians(
    path: PathLike,
    out: PathLike,
    *,
    jobs: int = 1,
    resume: bool = False,
    recipe: SamplingRecipe | None = None,
    progress: Callable[[JobCount], None] | None = None,
) -> JobCount:
    """Compute the Hamiltonians of the molecules of a file.

    Parameters
    ----------
    path : path
        SMILES, SDF or XYZ (each frame is a geometry); see
        `deepchem_dft.data.properties.molecule_files.read_molecules`.
    out : path
        HDF5 file; see `deepchem_dft.hamiltonian.files.store.HamiltonianFile`. It appears when all
        is done. Until then ``out`` + ``.part`` grows by one record per geometry.
    jobs : int
        Worker processes, of one thread each.
    resume : bool
        Go on where a run was stopped.
    recipe : SamplingRecipe, optional
    progress : callable, optional
        Called with the count at the beginning and after each step.

    Returns
    -------
    JobCount

    Raises
    ------
    InputError
        For input that is no list of molecules, an unknown functional or basis, an output that is
        there or was begun with other settings, and if no geometry could be done at all. A geometry
        that fails is not an error but a problem of the count (and of the file's settings).

    Notes
    -----
    Processes are spawned, so a script that calls this needs the usual
    ``if __name__ == "__main__":``.
    """
    recipe, out = recipe or SamplingRecipe(), Path(out)
    tell = progress or (lambda made: None)
    count = _check(path, recipe)
    asked = settings(path, count, recipe)
    part = out.with_name(out.name + ".part")
    if out.exists():
        return _finished(out, part, asked, resume)
    with Journal(part, asked, resume) as journal:
        made = JobCount(count * recipe.per_molecule)
        found = {"geometries": 0, "sample": 0}
        for record in journal.records():
            _count(made, record, recipe)
            found[str(record["kind"])] += 1
        made.resumed = made.done
        tell(made)
        if recipe.sampling != "none":
            waiting = (raw for raw in read_molecules(path) if raw.number > found["geometries"])
            _work(partial(_sampled, recipe=recipe), waiting, jobs, journal, made, recipe, tell)
        items = _geometries(path, recipe, journal)
        rest = (item for number, item in enumerate(items) if number >= found["sample"])
        _work(partial(_labelled, recipe=recipe), rest, jobs, journal, made, recipe, tell)
        if made.failed == made.total:
            name, problem = next(iter(made.problems.items()))
            raise InputError(f"no geometry could be done; the first: {problem}", file=str(path), entry=name)
        done = {**asked, "problems": made.problems}
        write_samples(out, _samples(journal.records()), done)
        part.unlink()
    return made


def _check(path: PathLike, recipe: SamplingRecipe) -> int:
    """Return the number of molecules; refuse at once what would fail for all of them."""
    elements = {1}
    for raw in read_molecules(path):
        if isinstance(raw.content, Frame):
            elements.update(NUCLEAR_CHARGE[symbol] for symbol in raw.content.read().symbols)
    count = count_molecules(path)
    orbital_layout(sorted(elements), recipe.basis)
    if recipe.sampling == "dynamics":
        xtb.version()
        atoms.version()
    return count


def _finished(out: Path, part: Path, asked: dict[str, Any], resume: bool) -> JobCount:
    if not resume:
        raise InputError(
            "the file exists",
            file=str(out),
            field="out",
            remedy="choose another name, or go on with it by --resume",
        )
    file = HamiltonianFile(out)
    made = dict(file.settings)
    problems = dict(made.pop("problems", {}))
    compare_settings(made, asked, out)
    part.unlink(missing_ok=True)  # a kill came between the last two steps
    number, failed = len(file), len(problems)
    file.close()
    return JobCount(number + failed, number + failed, failed, number + failed, problems)


def _work(
    work: Callable[[Any], Record],
    items: Iterator[Any],
    jobs: int,
    journal: Journal,
    made: JobCount,
    recipe: SamplingRecipe,
    tell: Callable[[JobCount], None],
) -> None:
    for record in in_order(work, items, max(1, jobs), _died):
        journal.append(record)
        _count(made, record, recipe)
        tell(made)


def _count(made: JobCount, record: Mapping[str, Any], recipe: SamplingRecipe) -> None:
    problem = str(record.get("problem", ""))
    if record["kind"] == "geometries" and not problem:
        return
    number = recipe.per_molecule if record["kind"] == "geometries" else 1
    made.done += number
    if problem:
        made.failed += number
        made.problems[str(record["name"])] = problem


def _geometries(path: PathLike, recipe: SamplingRecipe, journal: Journal) -> Iterator[_Geometry]:
    if recipe.sampling == "none":
        for raw in read_molecules(path):
            yield _Geometry(_name(raw), raw)
        return
    sampled = [r for r in journal.records() if r["kind"] == "geometries" and "problem" not in r]
    for record in sampled:
        for index, positions in enumerate(record["positions"]):
            temperature = recipe.temperatures[index // recipe.samples]
            name = f"{record['name']}/{temperature:g}K/{index % recipe.samples}"
            yield _Geometry(name, None, record["numbers"], positions, int(record["charge"]))


def _sampled(raw: RawMolecule, recipe: SamplingRecipe) -> Record:
    """Return geometries of one molecule; whatever goes wrong is the problem of the record."""
    base = {"kind": "geometries", "name": _name(raw)}
    try:
        start = _molecule(raw, recipe)
        rng = np.random.default_rng([recipe.seed, raw.number])
        if recipe.sampling == "modes":
            minimum = relax(start, recipe.xc, recipe.grid_level)
            modes = normal_modes(minimum, recipe.xc, recipe.grid_level)
            positions = [
                modes.draw(temperature, rng)
                for temperature in recipe.temperatures
                for _ in range(recipe.samples)
            ]
        else:
            minimum = start
            calculator = xtb.ase_calculator(start.charge)
            relaxed = atoms.relax(start.numbers, start.positions * BOHR_TO_ANGSTROM, calculator)
            positions = [
                frame * ANGSTROM_TO_BOHR
                for temperature in recipe.temperatures
                for frame in atoms.thermal_motion(
                    start.numbers, relaxed, calculator, temperature, recipe.samples, rng
                )
            ]
    except Exception as error:  # a fault of RDKit, PySCF or ASE must not end a run of hours
        return _record(base, problem=_reason(error))
    return _record(base, numbers=minimum.numbers, positions=np.array(positions), charge=minimum.charge)


def _labelled(item: _Geometry, recipe: SamplingRecipe) -> Record:
    """Return the matrices of one geometry; whatever goes wrong is the problem of the record."""
    base = {"kind": "sample", "name": item.name}
    try:
        bare = (
            HamiltonianSample(item.numbers, item.positions, recipe.basis, charge=item.charge, xc=recipe.xc)
            if item.raw is None
            else _molecule(item.raw, recipe)
        )
        reference = Reference(bare, recipe.xc, recipe.grid_level)
        solution = reference.solve()
        made = replace(
            reference.complete(),
            hamiltonian=solution.hamiltonian,
            energy=solution.energy,
            forces=reference.forces(solution) if recipe.forces else None,
        )
    except Exception as error:  # as above
        return _record(base, problem=_reason(error))
    fields = ("numbers", "positions", "basis", "energy", "forces", "charge", "xc", *MATRICES)
    values = {name: getattr(made, name) for name in fields}
    return _record(base, **{k: v for k, v in values.items() if v is not None})


def _record(base: Mapping[str, Any], **values: Any) -> Record:
    return {key: np.asarray(value) for key, value in {**base, **values}.items()}


def _reason(error: Exception) -> str:
    if isinstance(error, InputError):
        return error.problem
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, DeepChemDFTError) else f"{type(error).__name__}: {text}"


def _died(item: RawMolecule | _Geometry) -> Record:
    base = (
        {"kind": "geometries", "name": _name(item)}
        if isinstance(item, RawMolecule)
        else {"kind": "sample", "name": item.name}
    )
    return _record(base, problem="the process that computed it died")


def _molecule(raw: RawMolecule, recipe: SamplingRecipe) -> HamiltonianSample:
    charge = recipe.charge or 0
    if isinstance(raw.content, Frame):
        written = raw.content.read()
        if written.spin:
            raise InputError(f"{written.spin} unpaired electrons: only closed shells are computed")
        charge = as_said("charge", recipe.charge, written.charge, f"frame {raw.number}")
        symbols, positions = parse_geometry((written.symbols, written.positions), "angstrom")
        numbers = np.array([NUCLEAR_CHARGE[symbol] for symbol in symbols])
    else:
        found = geometry(raw, recipe.seed)
        numbers, positions = found.numbers, found.positions * ANGSTROM_TO_BOHR
    return HamiltonianSample(numbers, positions, recipe.basis, charge=charge, xc=recipe.xc)


def _name(raw: RawMolecule) -> str:
    """Return ``"ethanol/3"``: what it is called (or made of), and its place in the file."""
    called = raw.name if raw.name != str(raw.number) else ""
    if not called and isinstance(raw.content, Frame):
        called = formula(raw.content.read().symbols)
    elif not called and isinstance(raw.content, str):
        called = raw.content
    return f"{called.replace('/', '_')[:60]}/{raw.number}"


def _samples(records: Iterator[Record]) -> Iterator[HamiltonianSample]:
    for record in records:
        if record["kind"] == "sample" and "problem" not in record:
            yield HamiltonianSample(
                record["numbers"],
                record["positions"],
                str(record["basis"]),
                **{name: record[name] for name in (*MATRICES, "forces") if name in record},
                energy=float(record["energy"]),
                charge=int(record["charge"]),
                xc=str(record["xc"]),
                name=str(record["name"]),
            )


def settings(path: PathLike, count: int, recipe: SamplingRecipe) -> dict[str, Any]:
    """Return all that the samples depend on."""
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    versions = {"pyscf": version()}
    if recipe.sampling == "dynamics":
        versions |= {"tblite": xtb.version(), "ase": atoms.version()}
    return {
        "input": Path(path).name,
        "sha256": digest,
        "molecules": count,
        **vars(recipe),
        "versions": versions,
    }
