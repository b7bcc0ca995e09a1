"""A run on properties: labels, training, evaluation beside simple models, tables and figures."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepchem_dft import checkpoint as files
from deepchem_dft.errors import InputError
from deepchem_dft.files import write
from deepchem_dft.runs.base import MODEL_DIR, ROLES, DataNote, Run
from deepchem_dft.runs.card import TESTS, TRAINED, worse
from deepchem_dft.runs.deq.schema import PropertyDataConfig, PropertyRunConfig
from deepchem_dft.runs.rows import read_rows
from deepchem_dft.runs.tables import csv_text, markdown_table

if TYPE_CHECKING:
    from deepchem.data import Dataset

    from deepchem_dft.models import DEQEpoch, DEQModel

HISTORY_COLUMNS = [
    "epoch",
    "loss",
    "valid_score",
    "best",
    "unconverged_share",
    "evaluations_per_batch",
    "evaluations_per_sample",
    "seconds",
]
COLUMNS = ["role", "set", "task", "method", "N", "MAE", "RMSE", "accuracy", "ROC-AUC", "unit", "unconverged"]
_UNITS = {
    "dipole": "Debye",
    "gap": "eV",
    "energy": "Hartree",
    "pld": "Angstrom",
    "lcd": "Angstrom",
    "band_gap": "eV",
    "formation_energy": "eV/atom",
    "stability": "eV/atom",
}
_BASELINES = {
    "mean": "training mean",
    "forest-ecfp": "random forest, ECFP4",
    "forest-descriptors": "random forest, descriptors",
}
_TREES = 500


@dataclass(frozen=True)
class Labels:
    """The data of a run.

    Attributes
    ----------
    tasks : list of str
    classes : tuple of str
        Of a classification, from small values to large; empty for regressions.
    sets : dict of str to Dataset
        By role.
    """

    tasks: list[str]
    classes: tuple[str, ...]
    sets: dict[str, Dataset]

    @property
    def mode(self) -> str:
        """``regression`` or ``classification``."""
        return "classification" if self.classes else "regression"

    def unit(self, task: str) -> str:
        """Return the unit of a task; a class has none."""
        return "" if self.classes else _UNITS.get(task, "")


@dataclass
class Evaluated:
    """What a method predicts of a set.

    Attributes
    ----------
    role, method : str
    predicted : ndarray
        Values (N, tasks), or probabilities (N, 1, classes).
    unconverged : int
        Samples without a fixed point, predicted from their best iterate.
    """

    role: str
    method: str
    predicted: np.ndarray
    unconverged: int = 0


class PropertyRun(Run):
    """Train a deep-equilibrium network on properties, and evaluate it beside simple models."""

    config: PropertyRunConfig

    def check(self) -> None:
        """Read the labels and build the model: what cannot be fails before anything is written."""
        self.labels = load_labels(self.config.data)
        build_deq_model(self.config, self.labels)

    def read(self) -> DataNote:
        """Return what the labels are."""
        digest, sets = hashlib.sha256(), []
        for role, part in self.labels.sets.items():
            text = "\n".join(map(str, part.ids))
            digest.update(f"{role}\n{text}".encode())
            digest.update(np.ascontiguousarray(part.y, dtype=float).tobytes())
            sets.append({"role": role, "set": self.config.data.source, "molecules": len(part)})
        return DataNote(digest.hexdigest(), sets)

    def train(self) -> None:
        """Train the network; the best epoch is chosen on the validation part."""
        training, directory = self.config.training, self.directory
        model = build_deq_model(self.config, self.labels, directory.checkpoints)
        self.reporter.phase("training", training.epochs)
        count = len(self.labels.sets["train"])

        def after_epoch(report: DEQEpoch) -> None:
            self.reporter.epoch({**_row(report), "unconverged": round(report.unconverged * count)})
            if report.epoch % self.config.output.checkpoint_every == 0:
                _write_history(self, model)

        valid = self.labels.sets["valid"]
        model.fit(
            self.labels.sets["train"],
            training.epochs,
            max_checkpoints_to_keep=2,
            restore=bool(files.existing(directory.checkpoints)),
            valid_dataset=valid if len(valid) else None,
            validate_every=training.validate_every,
            early_stopping=training.early_stopping if len(valid) else None,
            restore_best=training.select_best,
            checkpoint_every=self.config.output.checkpoint_every,
            epoch_callback=after_epoch,
        )
        _write_history(self, model)
        model.save_checkpoint(1, model_dir=str(directory / MODEL_DIR))
        directory.set_status(state="trained", epochs=len(model.history))

    def _load(self, folder: str) -> DEQModel:
        from deepchem_dft.models import DEQModel

        return DEQModel.load(folder)

    def evaluate(self) -> None:
        """Predict all sets, with the baselines beside on the test part."""
        roles = [r for r in ("test", "valid", "train") if r in self.config.evaluation.sets]
        model = self.model()
        self.found = [_predicted(model, self.labels, role) for role in roles]
        for name in self.config.evaluation.baselines:
            found = _baseline(name, self.labels, self.config.training.seed)
            if found is None:
                self.reporter.note(f"left out, for molecules only: {_BASELINES[name]}")
            elif "test" in roles:
                self.found.append(Evaluated("test", _BASELINES[name], found))

    def write_tables(self) -> str:
        """Write results by task and by sample, and ``results.md``."""
        source = self.config.data.source
        rows = _rows(self.found, self.labels, source)
        write(self.directory / "results.csv", csv_text([COLUMNS, *rows]))
        write_samples(self.directory / "molecules.csv", self.found, self.labels, source)
        markdown = "\n".join(
            [
                f"# Results of {self.config.name}\n",
                f"Data: {source}, split by {self.config.data.splitter}. The epoch is chosen on the "
                "validation part. Unconverged: fixed points that were not found.\n",
                results_markdown(rows) + "\n",
            ]
        )
        write(self.directory / "results.md", markdown)
        return markdown

    def draw(self) -> None:
        """Draw learning curve, and predictions against labels."""
        from deepchem_dft.runs.deq import plots as deq_plots

        history = self.directory.read_history()
        if history:
            deq_plots.learning_curve(history, self.directory.plots / "learning_curve.png")
        if not self.labels.classes and self.found:
            one = self.found[0]
            deq_plots.parity(
                self.labels.sets[one.role].y,
                one.predicted,
                self.labels.tasks,
                [self.labels.unit(task) for task in self.labels.tasks],
                self.directory.plots / "parity.png",
            )

    def no_functional(self) -> InputError:
        """Return the error of whoever takes the model for a functional."""
        return InputError(
            "this run has trained no functional but a model of properties",
            file=str(self.directory.path),
            remedy="use 'deepchem-dft evaluate', or load_model(run) in Python",
        )

    def card(self) -> dict[str, Any]:
        """Return errors of the test part beside the baselines."""
        table: dict[tuple[str, str], dict[str, Any]] = {}
        for row in read_rows(self.directory / "results.csv", ("role", "task", "method", "N")):
            if row["role"] not in TESTS:
                continue
            classes = bool(row["accuracy"])
            value = 1.0 - row.number("accuracy") if classes else row.number("MAE")
            entry = table.setdefault(
                (row["set"], row["task"]),
                {
                    "set": row["set"],
                    "type": row["task"],
                    "entries": row.count("N"),
                    "unit": "share of wrong classes" if classes else row["unit"],
                    "mae": {},
                },
            )
            entry["mae"]["this" if row["method"] == TRAINED else row["method"]] = value
        errors = [row for row in table.values() if "this" in row["mae"]]
        behind = [line for name in _BASELINES.values() for line in worse(errors, name)]
        return {"errors": errors, "worse_than_parent": behind}

    def evaluate_on(self, names: Sequence[str], out: Path | None = None) -> tuple[str, list[str]]:
        """Evaluate on files of 'deepchem-dft data label', whole; none: on the run's test part."""
        model, data = self.model(), self.config.data
        parts = []
        for name in names or [""]:
            labels = load_labels(data) if not name else load_labels(data, name)
            one = _predicted(model, labels, "test")
            parts.append(([one], labels, Path(name).stem if name else data.source))
        rows = [row for found, labels, label in parts for row in _rows(found, labels, label)]
        if out is not None:
            lines = [line for found, labels, label in parts for line in _sample_rows(found, labels, label)]
            write(out, csv_text([_SAMPLE_COLUMNS, *lines]))
        bad = [
            f"{found[0].unconverged} samples of {label}" for found, _, label in parts if found[0].unconverged
        ]
        return results_markdown(rows), bad


def load_labels(data: PropertyDataConfig, file: str | None = None) -> Labels:
    """Read the labels of a run, or all of another file as a test set.

    Raises
    ------
    InputError
        For files and tasks that cannot be used, and parts without a sample.
    """
    from deepchem_dft import molnet
    from deepchem_dft.molnet.classes import ClassTransformer

    task: Any = data.tasks if len(data.tasks) > 1 else data.tasks[0]
    threshold: Any = data.threshold
    if threshold is not None and len(threshold) == 1:
        threshold = threshold[0]
    options: dict[str, Any] = {
        "featurizer": data.featurizer,
        "task": task,
        "threshold": threshold,
        "splitter": None if file else data.splitter,
    }
    if file is not None or data.source == "labelled":
        tasks, parts, transformers = molnet.load_labelled(file or str(data.path), **options)
    elif data.source == "nci":
        tasks, parts, transformers = molnet.load_nci(**options)
    else:
        load = getattr(molnet, f"load_{data.source}")
        tasks, parts, transformers = load(data_dir=data.path, **options)
    kinds = [t for t in transformers if isinstance(t, ClassTransformer)]
    if file is not None:
        return Labels(tasks, kinds[0].classes if kinds else (), {"test": parts[0]})
    if data.limit is not None:
        parts = tuple(part.select(range(min(data.limit, len(part)))) for part in parts)
    for role, part in zip(ROLES, parts):
        if not len(part) and role != "valid":
            raise InputError(
                f"there is nothing in the part '{role}'",
                field="data",
                remedy="use more data, or another splitter",
            )
    return Labels(tasks, kinds[0].classes if kinds else (), dict(zip(ROLES, parts)))


def build_deq_model(
    config: PropertyRunConfig, labels: Labels, model_dir: str | Path | None = None
) -> DEQModel:
    """Return the untrained model of a configuration, for the features of its data."""
    from deepchem_dft.models import DEQModel

    first = labels.sets["train"].X[0]
    sizes: dict[str, Any] = {}
    graph = hasattr(first, "node_features")
    if graph != (config.network.cell == "graph"):
        raise InputError(
            f"features of '{config.data.featurizer}' are no input of the cell '{config.network.cell}'",
            field="network.cell",
            remedy=f"use {'graph' if graph else 'fingerprint'}",
        )
    if graph:
        edges = first.edge_features
        sizes = {
            "n_features": first.node_features.shape[1],
            "n_edge_features": 0 if edges is None else edges.shape[1],
        }
        overall = getattr(first, "global_features", None)
        sizes["n_global_features"] = 0 if overall is None else np.size(overall)
    else:
        sizes["n_features"] = int(np.size(first))
    training = config.training
    return DEQModel(
        len(labels.tasks),
        labels.mode,
        n_classes=max(len(labels.classes), 2),
        **sizes,
        **config.network.model_dump(),
        seed=training.seed,
        batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        model_dir=None if model_dir is None else str(model_dir),
    )


def _row(report: DEQEpoch) -> dict[str, Any]:
    row = asdict(report)
    return {
        **row,
        "best": int(report.best),
        "valid_score": row["score"],
        "unconverged_share": row["unconverged"],
        "evaluations_per_batch": row["evaluations"],
        "evaluations_per_sample": row["iterations"],
    }


def _write_history(run: PropertyRun, model: DEQModel) -> None:
    run.directory.write_history([_row(report) for report in model.history], HISTORY_COLUMNS)


# -- evaluation ------------------------------------------------------------------------------------


def _predicted(model: DEQModel, labels: Labels, role: str) -> Evaluated:
    part = labels.sets[role]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tables say what did not converge
        found = np.asarray(model.predict(part))
    shape = (len(part), len(labels.tasks), *((-1,) if labels.classes else ()))
    return Evaluated(role, TRAINED, found.reshape(shape), model.last_solve.unconverged)


def _baseline(name: str, labels: Labels, seed: int) -> np.ndarray | None:
    """Return what a simple model predicts of the test part; None where it has no input."""
    import deepchem as dc
    from rdkit import rdBase
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    train, test = labels.sets["train"], labels.sets["test"]
    if name == "mean":
        if not labels.classes:
            return np.repeat(np.mean(train.y, 0, keepdims=True), len(test), 0)
        counts = np.bincount(train.y.astype(int).ravel(), minlength=len(labels.classes))
        return np.tile(counts / counts.sum(), (len(test), 1, 1))
    featurizer = (
        dc.feat.CircularFingerprint(radius=2, size=2048)
        if name == "forest-ecfp"
        else dc.feat.RDKitDescriptors()
    )
    inputs = []
    for part in (train, test):
        with rdBase.BlockLogs():  # RDKit deprecates what DeepChem calls, a line per molecule
            made = featurizer.featurize([str(ident) for ident in part.ids])
        if any(np.size(one) == 0 for one in made):  # crystals have no SMILES
            return None
        inputs.append(np.nan_to_num(np.stack(made).astype(float)).clip(-1e6, 1e6))
    if not labels.classes:
        forest = RandomForestRegressor(_TREES, random_state=seed)
        found = forest.fit(inputs[0], np.squeeze(train.y, 1) if train.y.shape[1] == 1 else train.y)
        return found.predict(inputs[1]).reshape(len(test), -1)
    forest = RandomForestClassifier(_TREES, random_state=seed)
    forest.fit(inputs[0], train.y.astype(int).ravel())
    return forest.predict_proba(inputs[1])[:, None, :]


def _rows(found: Sequence[Evaluated], labels: Labels, label: str) -> list[list[Any]]:
    """Return rows of the table, as in COLUMNS."""
    rows = []
    for one in found:
        y = np.asarray(labels.sets[one.role].y, dtype=float)
        for number, task in enumerate(labels.tasks):
            head = [one.role, label, task, one.method, len(y)]
            if labels.classes:
                measures = ["", "", *_class_scores(y[:, number], one.predicted[:, number])]
            else:
                errors = one.predicted[:, number] - y[:, number]
                measures = [
                    round(float(np.abs(errors).mean()), 6),
                    round(float(np.sqrt((errors**2).mean())), 6),
                    "",
                    "",
                ]
            rows.append([*head, *measures, labels.unit(task), one.unconverged])
    return rows


def _class_scores(y: np.ndarray, probabilities: np.ndarray) -> list[Any]:
    """Return accuracy and, of two classes that both occur, the area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    accuracy = float((probabilities.argmax(1) == y).mean())
    if probabilities.shape[1] != 2 or len(np.unique(y)) != 2:
        return [round(accuracy, 6), ""]
    return [round(accuracy, 6), round(float(roc_auc_score(y, probabilities[:, 1])), 6)]


def results_markdown(rows: Sequence[Sequence[Any]]) -> str:
    """Return one table: a row per set, task and method; empty columns are left out."""
    shown = [n for n, name in enumerate(COLUMNS) if any(row[n] != "" for row in rows)]
    cells = [[f"{row[n]:.4f}" if isinstance(row[n], float) else str(row[n]) for n in shown] for row in rows]
    return markdown_table([COLUMNS[n] for n in shown], cells)


_SAMPLE_COLUMNS = ["role", "set", "method", "name", "task", "label", "predicted", "unit"]


def _sample_rows(found: Sequence[Evaluated], labels: Labels, label: str) -> list[list[Any]]:
    rows = []
    for one in found:
        part = labels.sets[one.role]
        for number, task in enumerate(labels.tasks):
            values = one.predicted[:, number]
            if labels.classes:
                values = values.argmax(1)
            unit = labels.unit(task)
            rows += [
                [one.role, label, one.method, str(ident), task, float(y), float(p), unit]
                for ident, y, p in zip(part.ids, part.y[:, number], values)
            ]
    return rows


def write_samples(path: str | Path, found: Sequence[Evaluated], labels: Labels, label: str) -> None:
    """Write labels and predictions (the class, of classifications) of every sample as CSV."""
    write(path, csv_text([_SAMPLE_COLUMNS, *_sample_rows(found, labels, label)]))
