"""A whole run on Hamiltonians: train, evaluate beside the guess, write tables and figures."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.files import write
from deepchem_dft.runs.base import DataNote, Run
from deepchem_dft.runs.card import worse
from deepchem_dft.runs.hamiltonian.evaluation import (
    COLUMNS,
    Evaluated,
    evaluate_hamiltonian_set,
    hamiltonian_markdown,
    polynomial_of,
    write_molecules,
)
from deepchem_dft.runs.hamiltonian.schema import HamiltonianRunConfig, HamiltonianSetRef
from deepchem_dft.runs.hamiltonian.sets import HamiltonianSet, load_hamiltonian_sets, load_set
from deepchem_dft.runs.rows import read_rows
from deepchem_dft.runs.rundir import RunDirectory
from deepchem_dft.runs.tables import csv_text

if TYPE_CHECKING:
    from deepchem_dft.models import HamiltonianEpoch, HamiltonianModel

HISTORY_COLUMNS = [
    "epoch",
    "step",
    "learning_rate",
    "loss",
    "train_mae_uha",
    "valid_mae_uha",
    "best",
    "unconverged_share",
    "iterations",
    "seconds",
]


def build_hamiltonian_model(
    config: HamiltonianRunConfig, sets: Sequence[HamiltonianSet], model_dir: str | Path | None = None
) -> "HamiltonianModel":
    """Return the untrained model of a configuration, for all elements of the data."""
    from deepchem_dft.models import HamiltonianModel

    skipped = ("epochs", "validate_every")
    options = {**config.network.model_dump(), **config.training.model_dump()}
    samples = (sample for one in sets for sample, *_ in one.dataset.itersamples())
    first = next(iter(sets[0].dataset.itersamples()))[0]
    numbers = sorted({int(z) for sample in samples for z in sample.numbers})
    return HamiltonianModel(
        numbers,
        first.basis,
        first.xc or "pbe",
        **{k: v for k, v in options.items() if k not in skipped},
        model_dir=None if model_dir is None else str(model_dir),
    )


# -- a whole run -----------------------------------------------------------------------------------


class HamiltonianRun(Run):
    """Train a network for Kohn-Sham matrices and evaluate it beside the guess."""

    config: HamiltonianRunConfig
    instead = (
        "this run has trained no functional but a model of Hamiltonians",
        "'deepchem-dft evaluate', 'scf --guess'",
    )

    def check(self) -> None:
        """Open the files and build the model: what cannot be fails before anything is written."""
        self.sets = load_hamiltonian_sets(self.config)
        build_hamiltonian_model(self.config, self.sets)

    def read(self) -> DataNote:
        """Return what the files are; what is tested may change."""
        return _note(self.sets)

    def train(self) -> None:
        """Train the network."""
        model = build_hamiltonian_model(self.config, self.sets, self.directory.checkpoints)
        epochs, valid = self.config.training.epochs, _together(self.sets, "valid")
        self.reporter.phase("training", epochs)
        train = _together(self.sets, "train")
        self.fit(model, train, epochs, _row, HISTORY_COLUMNS, restore=self.begun, valid_dataset=valid)

    def _load(self, folder: str) -> "HamiltonianModel":
        from deepchem_dft.models import HamiltonianModel

        return HamiltonianModel.load(folder)

    def evaluate(self) -> None:
        """Predict all sets, with the guess beside."""
        model, options = self.model(), self.config.evaluation
        order = [
            s
            for role in ("test", "valid", "train")
            for s in self.sets
            if s.role == role and role in options.sets
        ]
        polynomial = polynomial_of(self.sets, model.config["grid_level"]) if options.baseline else None
        self.found = [
            result
            for one in order
            for result in evaluate_hamiltonian_set(
                model, one, options.energies, options.cycles, options.baseline, polynomial
            )
        ]

    def write_tables(self) -> str:
        """Write results by set and by molecule, and ``results.md``."""
        return _write_tables(self.config, self.directory, self.found)

    def draw(self) -> None:
        """Draw learning curve, orbital energies and iterations."""
        _draw(self.directory, self.found)

    def card(self) -> dict[str, Any]:
        """Return errors of the test sets beside the guess, and what the geometries say."""
        form, guess = self.config.network.form, f"{self.config.network.guess} guess"
        errors = _matrix_errors(self.directory / "results.csv", form)
        parent = guess if form.endswith("delta") else None
        return {
            "errors": errors,
            "parent": parent,
            "worse_than_parent": worse(errors, guess),
            **_matrix_data(self.config),
        }

    def evaluate_on(self, names: Sequence[str], out: Path | None = None) -> tuple[str, list[str]]:
        """Evaluate on sets such as ``water.h5:*/500K/*``."""
        refs = [HamiltonianSetRef.model_validate(name) for name in names] or self.config.data.test
        if not refs:
            raise self.no_test_set("FILE.h5")
        options, model = self.config.evaluation, self.model()
        found = [
            one
            for ref in refs
            for one in evaluate_hamiltonian_set(
                model, load_set(ref, "test"), options.energies, options.cycles, options.baseline
            )
        ]
        if out is not None:
            write_molecules(out, found)
        bad = [s.name for one in found for s in one.scores if not s.converged]
        return f"mean absolute errors, microhartree\n{hamiltonian_markdown(found)}", bad


def _note(sets: Sequence[HamiltonianSet]) -> DataNote:
    content, digest = [], hashlib.sha256()
    known = {path: _file_hash(path) for path in {one.file for one in sets}}
    for one in sets:
        content.append(
            {
                "role": one.role,
                "set": one.label,
                "file": Path(one.file).name,
                "sha256": known[one.file],
                "molecules": len(one.rows),
            }
        )
        if one.role != "test":
            digest.update(f"{one.role} {known[one.file]} {one.rows.tolist()}".encode())
    return DataNote(digest.hexdigest(), content, renew=True)


def _file_hash(path: str) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _together(sets: Sequence[HamiltonianSet], role: str) -> Any:
    """Return all molecules of a role as one data set."""
    from deepchem.data import NumpyDataset

    from deepchem_dft.data.featurizer import object_array

    chosen = [one.dataset for one in sets if one.role == role]
    if len(chosen) < 2:
        return chosen[0] if chosen else None
    samples = [sample for dataset in chosen for sample in dataset.X]
    return NumpyDataset(
        object_array(samples),
        np.zeros((len(samples), 1)),
        ids=np.concatenate([dataset.ids for dataset in chosen]),
    )


def _row(report: "HamiltonianEpoch") -> dict[str, Any]:
    row = asdict(report)
    return {
        **row,
        "best": int(report.best),
        "train_mae_uha": row["train_mae"],
        "valid_mae_uha": row["valid_mae"],
        "unconverged_share": row["unconverged"],
    }


def _write_tables(config: HamiltonianRunConfig, directory: RunDirectory, found: Sequence[Evaluated]) -> str:
    rows = [one.cells() for one in found]
    write(directory / "results.csv", csv_text([COLUMNS, *rows]))
    write_molecules(directory / "molecules.csv", found)
    markdown = "\n".join(
        [
            f"# Results of {config.name}\n",
            "Mean absolute errors in microhartree: elements of the matrix (H), occupied orbital "
            "energies, HOMO-LUMO gap, total energy of the predicted density. Coefficients: mean |cos| "
            "with those of the true occupied orbitals. Cycles: PySCF's to 1e-9 Ha from the prediction, "
            "of those from its default guess. Unconverged: fixed points that were not found.\n",
            hamiltonian_markdown(found) + "\n",
        ]
    )
    write(directory / "results.md", markdown)
    return markdown


def _draw(directory: RunDirectory, found: Sequence[Evaluated]) -> None:
    from deepchem_dft.runs.hamiltonian import plots as plots

    history = directory.read_history()
    if history:
        plots.learning_curve(history, directory.plots / "learning_curve.png")
        if any(row["iterations"] > 0 for row in history):
            plots.iterations(history, directory.plots / "iterations.png")
    for one in found:
        if not one.method.endswith(" guess") and not one.method.startswith("polynomial "):
            name = "".join(c if c.isalnum() else "_" for c in f"{one.set.role}_{one.set.label}")
            plots.orbital_parity(one, directory.plots / f"orbitals_{name}.png")


# -- the card --------------------------------------------------------------------------------------


def _matrix_data(config: HamiltonianRunConfig) -> dict[str, Any]:
    """Return what the geometries say: which molecules are tested on, what a model is made for."""
    from deepchem_dft.molecule.geometry import SYMBOLS

    try:
        sets = load_hamiltonian_sets(config)  # refuses a geometry that is in two roles
    except InputError:  # the files are no longer where the run found them
        return {}
    names = [{str(name).rsplit("/", 2)[0] for name in one.dataset.ids} for one in sets]
    trained = set().union(*(found for one, found in zip(sets, names) if one.role == "train"))
    overlap = [
        f"train and test {one.label} share no geometry; {len(found & trained)} of "
        f"{len(found)} tested molecules were trained on in other geometries"
        for one, found in zip(sets, names)
        if one.role == "test"
    ]
    sample = sets[0].dataset.X[0]
    numbers = {int(z) for one in sets for x, *_ in one.dataset.itersamples() for z in x.numbers}
    elements = ", ".join(SYMBOLS[z] for z in sorted(numbers))
    return {
        "overlap": overlap,
        "out_of_scope": [
            f"elements other than {elements}",
            f"other functionals than {sample.xc}, other basis sets than {sample.basis}",
            "other charges than those of the training data, open shells",
        ],
    }


def _matrix_errors(path: Path, form: str) -> list[dict[str, Any]]:
    """Return the test rows of a run on Hamiltonians: elements of H and orbital energies."""
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for row in read_rows(path, ("set", "N", "H", "orbitals")):
        label, _, method = row["set"].rpartition(", ")
        for column, kind in (("H", "elements of H"), ("orbitals", "occupied orbital energies")):
            if label.startswith("test: "):
                entry = table.setdefault(
                    (label, kind),
                    {
                        "set": label.removeprefix("test: "),
                        "type": kind,
                        "entries": row.count("N"),
                        "unit": "microhartree",
                        "mae": {},
                    },
                )
                entry["mae"]["this" if method == form else method] = row.number(column)
    return [row for row in table.values() if "this" in row["mae"]]
