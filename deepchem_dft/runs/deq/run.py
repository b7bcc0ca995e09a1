"""A run on properties: labels, training, evaluation beside simple models, tables and figures."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.files import write
from deepchem_dft.runs.base import ROLES, DataNote, Run
from deepchem_dft.runs.card import TESTS, TRAINED, worse
from deepchem_dft.runs.deq.evaluation import (
    BASELINES,
    COLUMNS,
    SAMPLE_COLUMNS,
    Evaluated,
    Labels,
    baseline,
    predicted_by,
    results_markdown,
    results_of,
    sample_rows,
    write_samples,
)
from deepchem_dft.runs.deq.schema import PropertyDataConfig, PropertyRunConfig
from deepchem_dft.runs.rows import read_rows
from deepchem_dft.runs.tables import csv_text

if TYPE_CHECKING:
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


class PropertyRun(Run):
    """Train a deep-equilibrium network on properties, and evaluate it beside simple models."""

    config: PropertyRunConfig
    instead = ("this run has trained no functional but a model of properties", "'deepchem-dft evaluate'")

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
        training, sets = self.config.training, self.labels.sets
        model = build_deq_model(self.config, self.labels, self.directory.checkpoints)
        self.reporter.phase("training", training.epochs)
        judged = len(sets["valid"]) > 0
        self.fit(
            model,
            sets["train"],
            training.epochs,
            _row,
            HISTORY_COLUMNS,
            restore=self.begun,
            valid_dataset=sets["valid"] if judged else None,
            early_stopping=training.early_stopping if judged else None,
            restore_best=training.select_best,
        )

    def _load(self, folder: str) -> "DEQModel":
        from deepchem_dft.models import DEQModel

        return DEQModel.load(folder)

    def evaluate(self) -> None:
        """Predict all sets, with the baselines beside on the test part."""
        roles = [r for r in ("test", "valid", "train") if r in self.config.evaluation.sets]
        model = self.model()
        self.found = [predicted_by(model, self.labels, role) for role in roles]
        for name in self.config.evaluation.baselines:
            found = baseline(name, self.labels, self.config.training.seed)
            if found is None:
                self.reporter.note(f"left out, for molecules only: {BASELINES[name]}")
            elif "test" in roles:
                self.found.append(Evaluated("test", BASELINES[name], found))

    def write_tables(self) -> str:
        """Write results by task and by sample, and ``results.md``."""
        source = self.config.data.source
        rows = results_of(self.found, self.labels, source)
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
        behind = [line for name in BASELINES.values() for line in worse(errors, name)]
        try:
            sets = load_labels(self.config.data).sets
        except InputError:  # the file is no longer where the run found it
            return {"errors": errors, "worse_than_parent": behind}
        trained, tested = (set(map(str, sets[role].ids)) for role in ("train", "test"))
        overlap = [f"train and test share {len(trained & tested)} of {len(tested)} samples"]
        return {"errors": errors, "worse_than_parent": behind, "overlap": overlap}

    def evaluate_on(self, names: Sequence[str], out: Path | None = None) -> tuple[str, list[str]]:
        """Evaluate on files of 'deepchem-dft data label', whole; none: on the run's test part."""
        model, data = self.model(), self.config.data
        parts = []
        for name in names or [""]:
            labels = load_labels(data) if not name else load_labels(data, name)
            one = predicted_by(model, labels, "test")
            parts.append(([one], labels, Path(name).stem if name else data.source))
        rows = [row for found, labels, label in parts for row in results_of(found, labels, label)]
        if out is not None:
            lines = [line for found, labels, label in parts for line in sample_rows(found, labels, label)]
            write(out, csv_text([SAMPLE_COLUMNS, *lines]))
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
    from deepchem_dft.molnet.property_sets import ClassTransformer

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
) -> "DEQModel":
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


def _row(report: "DEQEpoch") -> dict[str, Any]:
    row = asdict(report)
    return {
        **row,
        "best": int(report.best),
        "valid_score": row["score"],
        "unconverged_share": row["unconverged"],
        "evaluations_per_batch": row["evaluations"],
        "evaluations_per_sample": row["iterations"],
    }
