"""What a run configuration may say: every section, key, default and unit."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

EntryType = Literal["energy", "ae", "ie", "ea", "reaction", "dm", "dens"]


class Section(BaseModel):
    """A section of the configuration; unknown keys are errors that suggest the known one."""

    model_config = ConfigDict(extra="forbid", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _reject_unknown_keys(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        known = list(cls.model_fields)
        for key in values:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, n=1)
                remedy = f"use '{close[0]}' instead" if close else f"use one of {', '.join(known)}"
                raise PydanticCustomError(
                    "unknown_key", "unknown key", {"key": str(key), "remedy": remedy}
                )
        return values


class DatasetRef(Section):
    """A selection of entries of one data set.

    The text form ``w4-11:train`` means ``{dataset: w4-11, split: train}``; a text that ends in
    ``.yaml`` is a file.
    """

    dataset: str | None = Field(None, description="name of a data set of the package")
    file: str | None = Field(None, description="YAML file, relative to the configuration")
    label: str | None = Field(None, description="name of this set in tables (default: its source)")
    split: str | list[str] | None = Field(None, description="keep entries of these splits")
    types: list[EntryType] | None = Field(None, description="keep entries of these types")
    names: list[str] | None = Field(None, description="keep these entries, in this order")
    exclude: list[str] | None = Field(None, description="drop these entries")
    elements: list[str] | None = Field(None, description="keep entries made of these elements only")
    min_heavy: int | None = Field(None, ge=0, description="fewest heavy atoms of the first system")
    max_heavy: int | None = Field(None, ge=0, description="most heavy atoms of the first system")
    max_electrons: int | None = Field(None, ge=1, description="most electrons in any one system")
    without_tags: list[str] = Field([], description="drop entries that carry one of these tags")
    limit: int | None = Field(None, ge=1, description="keep the first so many")
    weight: float = Field(1.0, gt=0, description="factor on the entries' weights")
    basis: str | None = Field(None, description="basis of this set; goes before data.basis")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, values: Any) -> Any:
        if not isinstance(values, str):
            return values
        if values.endswith((".yaml", ".yml")):
            return {"file": values}
        name, _, split = values.partition(":")
        return {"dataset": name, "split": split or None}

    @model_validator(mode="after")
    def _one_origin(self) -> DatasetRef:
        if (self.dataset is None) == (self.file is None):
            raise ValueError("give exactly one of 'dataset' and 'file'")
        return self

    @property
    def origin(self) -> str:
        """The data set's name or the file."""
        return self.dataset or self.file or ""


class DataConfig(Section):
    """Which entries are trained on, selected on and tested on, and in which basis and grid."""

    train: list[DatasetRef] = Field(min_length=1)
    valid: list[DatasetRef] = []
    test: list[DatasetRef] = []
    basis: str | None = Field(None, description="basis of all systems (default: as in the data)")
    grid_level: int = Field(3, ge=0, le=9, description="PySCF's quadrature level")


class NetworkConfig(Section):
    """The neural part: ``deepchem_dft.xc.build_network`` and the functional around it."""

    family: Literal["lda", "gga", "mgga"] = "gga"
    hidden: list[int] = Field([16, 16], description="widths of the hidden layers")
    activation: str = "silu"
    inputs: str | None = Field(None, description="input transformation (default: the family's)")
    output: str | None = Field(None, description="output transformation (default: plain)")
    max_output: float | None = Field(None, gt=0, description="bound of the network's output")
    ueg_exact: bool | None = Field(None, description="keep the uniform gas exactly")
    spin_symmetric: bool = True
    options: dict[str, Any] = Field({}, description="further keywords of build_network")

    @field_validator("hidden")
    @classmethod
    def _positive(cls, hidden: list[int]) -> list[int]:
        if any(width < 1 for width in hidden):
            raise ValueError("layer widths must be at least 1")
        return hidden


class FunctionalConfig(Section):
    """``xc = a * network + b * conventional + exact exchange``."""

    xc: str = Field("pbe", description="conventional part, any name libxc knows")
    network: NetworkConfig | None = NetworkConfig()
    aweight0: float = Field(1.0, description="initial weight of the network")
    bweight0: float = Field(1.0, description="initial weight of the conventional part")
    train_a: bool = Field(False, description="train the weight of the network")
    train_b: bool = Field(False, description="train the weight of the conventional part")
    exchange: float | None = Field(None, description="share of exact exchange")
    train_exchange: bool = False


class StageConfig(Section):
    """One stretch of training; what is left out is taken from ``training``."""

    epochs: int = Field(ge=1)
    learning_rate: float | None = Field(None, gt=0)
    schedule: Literal["constant", "cosine", "exponential"] | None = None
    batch_size: int | None = Field(None, ge=1)
    scf_every: int | None = Field(None, ge=1)


class TrainingConfig(Section):
    """How the network is fitted."""

    epochs: int | None = Field(
        None, ge=0, description="number of epochs; with stages, stop after so many in all"
    )
    stages: list[StageConfig] = []
    learning_rate: float = Field(1e-3, gt=0)
    schedule: Literal["constant", "cosine", "exponential"] = "constant"
    final_learning_rate: float = Field(0.01, gt=0, le=1, description="end / start of the schedule")
    batch_size: int = Field(1, ge=1)
    loss: Literal["l1", "l2", "huber"] = "l2"
    huber_delta: float = Field(5.0, gt=0, description="kcal/mol")
    type_weights: dict[EntryType, float] = {}
    weight_decay: float = Field(0.0, ge=0)
    gradient_clip: float | None = Field(None, gt=0)
    scf_every: int = Field(1, ge=1, description="optimiser steps between SCF solutions of a system")
    scf_tol: float = Field(1e-6, gt=0, le=1e-2)
    validate_every: int = Field(1, ge=1, description="epochs between validations")
    early_stopping: int | None = Field(None, ge=1, description="validations without improvement")
    select_best: bool = Field(True, description="keep the parameters of the best validation")
    seed: int = Field(0, ge=0)
    threads: int = Field(1, ge=1, description="torch threads of the training process")

    def resolved_stages(self) -> list[StageConfig]:
        """Return the stages with every value filled in, cut to ``epochs`` in all.

        Examples
        --------
        >>> stages = TrainingConfig(epochs=3, stages=[{"epochs": 2}, {"epochs": 9}])
        >>> [stage.epochs for stage in stages.resolved_stages()]
        [2, 1]
        """
        left = self.epochs
        stages = self.stages or [StageConfig(epochs=100 if left is None else max(left, 1))]
        out = []
        for stage in stages:
            epochs = stage.epochs if left is None else min(stage.epochs, left)
            if epochs < 1:
                break
            left = None if left is None else left - epochs
            values = {
                key: getattr(self, key) if getattr(stage, key) is None else getattr(stage, key)
                for key in ("learning_rate", "schedule", "batch_size", "scf_every")
            }
            out.append(StageConfig(epochs=epochs, **values))
        return out


class EvaluationConfig(Section):
    """What is evaluated after training, always self-consistently."""

    sets: list[Literal["train", "valid", "test"]] = ["train", "valid", "test"]
    baseline_sets: list[Literal["train", "valid", "test"]] = ["test"]
    scf_tol: float = Field(1e-6, gt=0, le=1e-2)
    processes: int | None = Field(None, ge=1, description="worker processes (default: all cores)")


class CurveConfig(Section):
    """The H2 dissociation curve of the run's plots; lengths in Bohr."""

    start: float = Field(0.6, gt=0)
    stop: float = Field(8.0, gt=0)
    points: int = Field(16, ge=2)
    basis: str | None = Field(None, description="default: the basis of the data")


class OutputConfig(Section):
    """Where the run directory is and what is drawn."""

    dir: str | None = Field(None, description="run directory (default: runs/<name>)")
    plots: bool = True
    h2_curve: CurveConfig | Literal[False] = CurveConfig()
    checkpoint_every: int = Field(1, ge=1, description="epochs between checkpoints")

    @field_validator("h2_curve", mode="before")
    @classmethod
    def _true_is_default(cls, value: Any) -> Any:
        return {} if value is True or value is None else value


class RunConfig(Section):
    """A whole run: data, functional, training, baselines, evaluation, output."""

    name: str = Field("run", pattern=r"^[A-Za-z0-9][\w.\-]*$")
    description: str = ""
    data: DataConfig
    functional: FunctionalConfig = FunctionalConfig()
    training: TrainingConfig = TrainingConfig()
    baselines: list[str] = ["lda", "pbe", "b3lyp"]
    evaluation: EvaluationConfig = EvaluationConfig()
    output: OutputConfig = OutputConfig()
