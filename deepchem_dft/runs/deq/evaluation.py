"""Evaluation of a run on properties: what a network and simple models predict, as tables."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepchem_dft.files import write
from deepchem_dft.runs.card import TRAINED
from deepchem_dft.runs.tables import csv_text, markdown_table

if TYPE_CHECKING:
    from deepchem.data import Dataset

    from deepchem_dft.models import DEQModel

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
BASELINES = {
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
    sets: "dict[str, Dataset]"

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


def predicted_by(model: "DEQModel", labels: Labels, role: str) -> Evaluated:
    """Return what a network predicts of a part."""
    part = labels.sets[role]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tables say what did not converge
        found = np.asarray(model.predict(part))
    shape = (len(part), len(labels.tasks), *((-1,) if labels.classes else ()))
    return Evaluated(role, TRAINED, found.reshape(shape), model.last_solve.unconverged)


def baseline(name: str, labels: Labels, seed: int) -> np.ndarray | None:
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


def results_of(found: Sequence[Evaluated], labels: Labels, label: str) -> list[list[Any]]:
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


SAMPLE_COLUMNS = ["role", "set", "method", "name", "task", "label", "predicted", "unit"]


def sample_rows(found: Sequence[Evaluated], labels: Labels, label: str) -> list[list[Any]]:
    """Return a row for each sample, as in SAMPLE_COLUMNS."""
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
    write(path, csv_text([SAMPLE_COLUMNS, *sample_rows(found, labels, label)]))
