"""A whole run on Hamiltonians: train, evaluate beside the guess, write tables and figures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SCFNotConverged
from ..files import write
from ..fitting.reporter import LOGGER, Reporter
from .functional import MODEL_DIR, is_trained
from .hamiltonian_schema import HamiltonianRunConfig
from .hamiltonian_sets import HamiltonianSet, load_hamiltonian_sets
from .rundir import RunDirectory
from .tables import csv_text, markdown_table

if TYPE_CHECKING:
    from ..models import HamiltonianEpoch, HamiltonianModel, HamiltonianScore
    from .pipeline import RunResult

HISTORY_COLUMNS = ["epoch", "step", "learning_rate", "loss", "train_mae_uha", "valid_mae_uha",
                   "best", "unconverged_share", "iterations", "seconds"]
COLUMNS = ["set", "N", "H", "orbitals", "gap", "coefficients", "energy", "cycles", "unconverged"]


@dataclass
class Evaluated:
    """What was found for one set, by the network or by the guess.

    Attributes
    ----------
    set : HamiltonianSet
    method : str
        In tables.
    scores : list of HamiltonianScore
        In the order of the set, energies in microhartree.
    cycles : list of (int, int)
        PySCF's from its default guess and from the prediction, of the first molecules.
    """

    set: HamiltonianSet
    method: str
    scores: list[HamiltonianScore]
    cycles: list[tuple[int, int]]

    def cells(self) -> list[str]:
        """Return a row of the table."""
        energies = [s.energy_error for s in self.scores if s.energy_error is not None]
        mean = {name: float(np.mean([getattr(s, name) for s in self.scores])) for name in (
            "hamiltonian_mae", "orbital_mae", "gap_error", "coefficient_similarity")}
        before, after = (float(np.mean(c)) for c in zip(*self.cycles)) if self.cycles else (0, 0)
        return [
            f"{self.set.role}: {self.set.label}, {self.method}", str(len(self.scores)),
            f"{mean['hamiltonian_mae']:.2f}", f"{mean['orbital_mae']:.2f}",
            f"{mean['gap_error']:.1f}", f"{mean['coefficient_similarity']:.5f}",
            f"{np.mean(energies):.2f}" if energies else "-",
            f"{after:.1f} of {before:.1f}" if self.cycles else "-",
            str(sum(not s.converged for s in self.scores)),
        ]


def build_hamiltonian_model(
    config: HamiltonianRunConfig, sets: Sequence[HamiltonianSet],
    model_dir: str | Path | None = None,
) -> HamiltonianModel:
    """Return the untrained model of a configuration, for all elements of the data."""
    from ..models import HamiltonianModel

    skipped = ("epochs", "validate_every")
    options = {**config.network.model_dump(), **config.training.model_dump()}
    samples = (sample for one in sets for sample, *_ in one.dataset.itersamples())
    first = next(iter(sets[0].dataset.itersamples()))[0]
    numbers = sorted({int(z) for sample in samples for z in sample.numbers})
    return HamiltonianModel(
        numbers, first.basis, first.xc or "pbe",
        **{k: v for k, v in options.items() if k not in skipped},
        model_dir=None if model_dir is None else str(model_dir))


# -- a whole run -----------------------------------------------------------------------------------


def run_hamiltonian(
    config: HamiltonianRunConfig, run_dir: str | Path, *, resume: bool = False,
    reporter: Reporter | None = None,
) -> RunResult:
    """Train the network of a configuration and evaluate it: see :func:`runs.run`."""
    from .pipeline import RunResult

    reporter, directory = reporter or Reporter(), RunDirectory(run_dir)
    sets = load_hamiltonian_sets(config)  # what cannot be fails before anything is written
    build_hamiltonian_model(config, sets)
    with closing(reporter), directory.opened(config, resume):
        _check_data(directory, sets)
        if not is_trained(directory, config):
            _train(config, directory, sets, reporter)
        reporter.phase("evaluating")
        from ..models import HamiltonianModel

        model = HamiltonianModel.load(str(directory / MODEL_DIR))
        order = [s for role in ("test", "valid", "train") for s in sets
                 if s.role == role and role in config.evaluation.sets]
        found = [result for one in order for result in evaluate_hamiltonian_set(
            model, one, config.evaluation.energies, config.evaluation.cycles,
            config.evaluation.baseline)]
        markdown = _write_tables(config, directory, found)
        if config.output.plots:
            _draw(directory, found)
        return RunResult(directory, [], [], markdown)


def _check_data(directory: RunDirectory, sets: Sequence[HamiltonianSet]) -> None:
    """Store the data's hash, or compare with the stored one; what is tested may change."""
    content, digest = [], hashlib.sha256()
    known = {path: _file_hash(path) for path in {one.file for one in sets}}
    for one in sets:
        content.append({"role": one.role, "set": one.label, "file": Path(one.file).name,
                        "sha256": known[one.file], "molecules": len(one.rows)})
        if one.role != "test":
            digest.update(f"{one.role} {known[one.file]} {one.rows.tolist()}".encode())
    directory.check_data(digest.hexdigest(), content, renew=True)


def _file_hash(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _together(sets: Sequence[HamiltonianSet], role: str) -> Any:
    """Return all molecules of a role as one data set."""
    from deepchem.data import NumpyDataset

    from ..data.featurizer import object_array

    chosen = [one.dataset for one in sets if one.role == role]
    if len(chosen) < 2:
        return chosen[0] if chosen else None
    samples = [sample for dataset in chosen for sample in dataset.X]
    return NumpyDataset(object_array(samples), np.zeros((len(samples), 1)),
                        ids=np.concatenate([dataset.ids for dataset in chosen]))


def _train(config: HamiltonianRunConfig, directory: RunDirectory,
           sets: Sequence[HamiltonianSet], reporter: Reporter) -> None:
    from .. import checkpoint as files

    training = config.training
    model = build_hamiltonian_model(config, sets, directory.checkpoints)
    reporter.phase("training", training.epochs)

    def after_epoch(report: HamiltonianEpoch) -> None:
        reporter.epoch({**_row(report), "unconverged": round(
            report.unconverged * len(train))})
        if report.epoch % config.output.checkpoint_every == 0:
            _write_history(directory, model)

    train = _together(sets, "train")
    model.fit(
        train, training.epochs, max_checkpoints_to_keep=2,
        restore=bool(files.existing(directory.checkpoints)),
        valid_dataset=_together(sets, "valid"), validate_every=training.validate_every,
        checkpoint_every=config.output.checkpoint_every, epoch_callback=after_epoch)
    _write_history(directory, model)
    model.save_checkpoint(1, model_dir=str(directory / MODEL_DIR))
    directory.set_status(state="trained", epochs=len(model.history))


def _row(report: HamiltonianEpoch) -> dict[str, Any]:
    row = asdict(report)
    return {**row, "best": int(report.best), "train_mae_uha": row["train_mae"],
            "valid_mae_uha": row["valid_mae"], "unconverged_share": row["unconverged"]}


def _write_history(directory: RunDirectory, model: HamiltonianModel) -> None:
    directory.write_history([_row(report) for report in model.history], HISTORY_COLUMNS)


# -- evaluation ------------------------------------------------------------------------------------


def evaluate_hamiltonian_set(
    model: HamiltonianModel, one: HamiltonianSet, energies: int = 0, cycles: int = 0,
    baseline: bool = True,
) -> list[Evaluated]:
    """Return errors of the guess (if asked for) and of the network.

    Parameters
    ----------
    model : HamiltonianModel
    one : HamiltonianSet
    energies, cycles : int
        Molecules, from the beginning, whose total energies are compared, and for which PySCF is
        run to 1e-9 Hartree.
    baseline : bool
    """
    first, rest = np.split(np.arange(len(one.rows)), [min(energies, len(one.rows))])
    parts = [(one.dataset.select(rows), number == 0) for number, rows in enumerate((first, rest))
             if len(rows)]
    found = []
    if baseline:
        scores = [s for data, energy in parts for s in model.guess_scores(data, energy)]
        found.append(Evaluated(one, f"{model.config['guess']} guess", scores, []))
    scores = [s for data, energy in parts for s in model.scores(data, energy)]
    counted = one.dataset.select(np.arange(min(cycles, len(one.rows))))
    saved = []
    for prediction in model.predict_properties(counted) if len(counted) else []:
        try:
            saved.append(prediction.cycles())
        except SCFNotConverged as error:
            LOGGER.warning("%s is left out of the cycles: %s", prediction.name, error)
    return [*found, Evaluated(one, str(model.config["form"]), scores, saved)]


def hamiltonian_markdown(found: Sequence[Evaluated]) -> str:
    """Return one table: a row per set and method."""
    return markdown_table(COLUMNS, [one.cells() for one in found])


def _write_tables(
    config: HamiltonianRunConfig, directory: RunDirectory, found: Sequence[Evaluated]
) -> str:
    rows = [one.cells() for one in found]
    write(directory / "results.csv", csv_text([COLUMNS, *rows]))
    write_molecules(directory / "molecules.csv", found)
    markdown = "\n".join([
        f"# Results of {config.name}\n",
        "Mean absolute errors in microhartree: elements of the matrix (H), occupied orbital "
        "energies, HOMO-LUMO gap, total energy of the predicted density. Coefficients: mean |cos| "
        "with those of the true occupied orbitals. Cycles: PySCF's to 1e-9 Ha from the prediction, "
        "of those from its default guess. Unconverged: fixed points that were not found.\n",
        hamiltonian_markdown(found) + "\n"])
    write(directory / "results.md", markdown)
    return markdown


def write_molecules(path: str | Path, found: Sequence[Evaluated]) -> None:
    """Write the errors of every molecule as CSV, energies in microhartree."""
    names = ["name", "hamiltonian_mae", "orbital_mae", "gap_error", "coefficient_similarity",
             "energy_error", "converged", "iterations"]
    lines = [["role", "set", "method", *names]]
    for one in found:
        lines += [[one.set.role, one.set.label, one.method, *(getattr(s, n) for n in names)]
                  for s in one.scores]
    write(Path(path), csv_text(lines))


def _draw(directory: RunDirectory, found: Sequence[Evaluated]) -> None:
    from . import hamiltonian_plots as plots

    history = directory.read_history()
    if history:
        plots.learning_curve(history, directory.plots / "learning_curve.png")
        if any(row["iterations"] > 0 for row in history):
            plots.iterations(history, directory.plots / "iterations.png")
    for one in found:
        if not one.method.endswith(" guess"):
            name = "".join(c if c.isalnum() else "_" for c in f"{one.set.role}_{one.set.label}")
            plots.orbital_parity(one, directory.plots / f"orbitals_{name}.png")
