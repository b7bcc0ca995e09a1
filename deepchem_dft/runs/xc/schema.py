"""What a run configuration may say: every section, key, default and unit."""

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from deepchem_dft.errors import InputError
from deepchem_dft.models.xc.stages import Stage
from deepchem_dft.runs.section import (
    LARGEST_SEED,
    MOST_EPOCHS,
    MOST_PROCESSES,
    MOST_SAMPLES,
    BaseRunConfig,
    OutputSection,
    Roles,
    Section,
    Weight,
    located,
)
from deepchem_dft.runs.xc.functional_schema import FunctionalConfig
from deepchem_dft.runs.xc.selection import selection

EntryType = Literal[
    "energy", "ae", "ie", "ea", "reaction", "fractional_charge", "fractional_spin", "dm", "dens"
]
#: Types of the rows of boards, and finer kinds.
RowType = Literal[
    "TC", "BH", "I", "NC", "F", "TM", "SC", "AE", "TAE", "BDE", "HAT", "IP", "EA", "PA", "SIE", "RE"
]


class DatasetRef(Section):
    """A selection of entries of one data set.

    The text form ``w4-11:train`` means ``{dataset: w4-11, split: train}``, and ``gscdb138:BH46,test``
    ``{dataset: gscdb138, sets: [BH46], split: test}``; a text that ends in ``.yaml`` is a file.
    """

    dataset: str | None = Field(None, description="name of a data set of the package")
    file: str | None = Field(None, description="YAML file, relative to the configuration")
    label: str | None = Field(None, description="name of this set in tables (default: its source)")
    split: str | list[str] | None = Field(None, description="keep entries of these splits")
    types: list[Literal[EntryType, RowType]] | None = Field(
        None, description="keep entries of these types; of a board, also rows of these types or kinds"
    )
    sets: list[str] | None = Field(None, description="keep rows of these sets of a board")
    diet: Literal[30, 100, 150] | None = Field(
        None, description="keep rows of a board that are in this choice of GMTKN55"
    )
    names: list[str] | None = Field(None, description="keep these entries, in this order")
    exclude: list[str] | None = Field(None, description="drop these entries")
    elements: list[str] | None = Field(None, description="keep entries made of these elements only")
    min_heavy: int | None = Field(None, ge=0, le=1000, description="fewest heavy atoms of the largest")
    max_heavy: int | None = Field(None, ge=0, le=1000, description="most heavy atoms in any one system")
    max_electrons: int | None = Field(None, ge=1, le=100_000, description="most electrons in any one system")
    without_tags: list[str] = Field([], description="drop entries that carry one of these tags")
    limit: int | None = Field(None, ge=1, le=MOST_SAMPLES, description="keep the first so many")
    weight: float = Field(1.0, gt=0, le=1e6, description="factor on the entries' weights")
    balance: Literal["sets", "energies"] | None = Field(
        None,
        description="rows of a board weigh so that sets count alike, or as in the weighted total (mean: 1)",
    )
    basis: str | None = Field(None, description="basis of this set; goes before data.basis")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, values: Any) -> Any:
        if not isinstance(values, str):
            return values
        try:
            return selection(values)
        except InputError as error:
            raise ValueError(f"{error.problem}: {error.remedy}") from None

    @model_validator(mode="after")
    def _one_origin(self) -> "DatasetRef":
        if (self.dataset is None) == (self.file is None):
            raise ValueError("give exactly one of 'dataset' and 'file'")
        return self

    @property
    def origin(self) -> str:
        """The data set's name or the file."""
        return self.dataset or self.file or ""


class DataConfig(Section):
    """Which entries are trained on, selected on and tested on, and in which basis and grid."""

    train: list[DatasetRef] = Field(min_length=1, description="what the loss is made of")
    valid: list[DatasetRef] = Field(
        [], description="keys as in train; selects the parameters and stops early"
    )
    test: list[DatasetRef] = Field([], description="keys as in train; only evaluated, at the end")
    prepared: str | None = Field(
        None, description="file of 'deepchem-dft prepare': densities that need not be made again"
    )
    only_prepared: bool = Field(
        False,
        description="leave out rows with a system that is not in the prepared file, rather than solve it",
    )
    basis: str | None = Field(None, description="basis of all systems (default: as in the data)")
    grid_level: int = Field(3, ge=0, le=9, description="PySCF's quadrature level")
    density_fit: bool | str | None = Field(
        None, description="true, false, or a fitting basis (default: above 180 orbitals)"
    )


class StageConfig(Section):
    """One stretch of training; what is left out is taken from ``training``.

    ``mode: scf`` trains through self-consistent fields. ``mode: frozen`` first solves every system
    with the present functional (in parallel; at the very start with the conventional one), then
    trains at those densities, which costs milliseconds per epoch: energies are stationary, so their
    gradients are right to first order. ``repeat`` does this several times in a row.
    """

    mode: Literal["scf", "frozen"] = Field(
        "scf", description="solve all along, or train at densities solved once per stage"
    )
    epochs: int = Field(ge=1, le=MOST_EPOCHS, description="number of epochs")
    repeat: int = Field(1, ge=1, le=1000, description="times to go through this stage")
    learning_rate: float | None = Field(None, gt=0, le=1e3, description="Adam's, at the start")
    schedule: Literal["constant", "cosine", "exponential"] | None = Field(
        None, description="of the learning rate within the stage"
    )
    final_learning_rate: float | None = Field(None, gt=0, le=1, description="end / start of the schedule")
    batch_size: int | None = Field(
        None, ge=1, le=MOST_SAMPLES, description="frozen: default all entries at once"
    )
    scf_every: int | None = Field(None, ge=1, le=MOST_EPOCHS, description="scf only: steps between solutions")
    validate_every: int | None = Field(None, ge=1, le=MOST_EPOCHS, description="frozen only, in epochs")
    optimizer: Literal["adam", "lbfgs"] = Field(
        "adam", description="lbfgs: frozen only, all entries at once; ten iterations an epoch"
    )

    @model_validator(mode="after")
    def _fits_mode(self) -> "StageConfig":
        alien = "scf_every" if self.mode == "frozen" else "validate_every"
        if getattr(self, alien) is not None:
            raise ValueError(f"'{alien}' has no meaning in a stage of mode '{self.mode}'")
        if self.optimizer == "lbfgs" and (self.mode == "scf" or self.batch_size is not None):
            raise ValueError("'lbfgs' is for stages of mode 'frozen' without batches")
        return self


class PenaltyConfig(Section):
    """What a learned factor is fined for, in the unit of the loss; see ``EnhancedXC.penalty``."""

    size: float = Field(0.0, ge=0, le=1e9, description="times the mean squares of both factors")
    roughness: float = Field(0.0, ge=0, le=1e9, description="times those of their second derivatives")


class TrainingConfig(Section):
    """How the network is fitted."""

    epochs: int | None = Field(
        None,
        ge=1,
        le=MOST_EPOCHS,
        description="number of epochs (100); with stages, stop after so many in all",
    )
    stages: list[StageConfig] = Field([], max_length=1000, description="stretches of training, in order")
    learning_rate: float = Field(1e-3, gt=0, le=1e3, description="Adam's, at the start")
    schedule: Literal["constant", "cosine", "exponential"] = Field(
        "constant", description="of the learning rate within a stage"
    )
    final_learning_rate: float = Field(0.01, gt=0, le=1, description="end / start of the schedule")
    batch_size: int = Field(1, ge=1, le=MOST_SAMPLES, description="entries per step of scf stages")
    target: Literal["total", "residual"] = Field(
        "total",
        description="residual: take the basis error of the conventional part out of the references, by its "
        "published values; for rows of boards",
    )
    published: str | None = Field(
        None, description="residual: the published functional that training starts from, such as r2SCAN0"
    )
    first_densities: str | None = Field(
        None,
        description="functional at whose densities the first frozen stage trains; residual: the one that "
        "'published' names (default: what training starts from)",
    )
    largest_shift: float = Field(
        8.0,
        gt=0,
        le=1e4,
        description="residual: rows are left out where the basis seems to make more, kcal/mol",
    )
    loss: Literal["l1", "l2", "huber"] = Field("l2", description="of an entry's error")
    loss_unit: str = Field("kcal/mol", description="unit of energy errors in the loss")
    huber_delta: float = Field(5.0, gt=0, le=1e9, description="in loss_unit")
    type_weights: dict[EntryType, Weight] = Field({}, description="weight by entry type (1)")
    weight_decay: float = Field(0.0, ge=0, le=1e3, description="AdamW's")
    penalties: PenaltyConfig = Field(
        PenaltyConfig(), description="on an enhancement or an lda network, in frozen stages"
    )
    gradient_clip: float | None = Field(None, gt=0, le=1e9, description="largest norm of the gradient")
    scf_every: int = Field(
        1, ge=1, le=MOST_EPOCHS, description="optimiser steps between SCF solutions of a system"
    )
    scf_trust: float = Field(
        1e-5,
        ge=0,
        le=1e3,
        description="solve before scf_every says so if relaxing would lower an energy by more than this, Ha",
    )
    scf_tol: float = Field(1e-6, ge=1e-12, le=1e-2, description="largest orbital gradient, Ha")
    two_grid: bool | None = Field(
        None, description="iterate on a coarse grid, confirm on the fine one (default: warm starts)"
    )
    validate_every: int = Field(1, ge=1, le=MOST_EPOCHS, description="epochs between validations")
    early_stopping: int | None = Field(
        None, ge=1, le=MOST_EPOCHS, description="validations without improvement"
    )
    select_best: bool = Field(True, description="keep the parameters of the best validation")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="of initial weights and order of entries")
    threads: int = Field(1, ge=1, le=MOST_PROCESSES, description="threads of each training process")

    @model_validator(mode="after")
    def _published_for_residuals(self) -> "TrainingConfig":
        if (self.target == "residual") != (self.published is not None):
            raise ValueError("'target: residual' and 'published' go together")
        return self

    def resolved_stages(self) -> list[Stage]:
        """Return the stages with every value filled in, repeats unrolled, cut to ``epochs``.

        Examples
        --------
        >>> training = TrainingConfig(epochs=4, stages=[{"epochs": 3, "repeat": 2}, {"epochs": 9}])
        >>> [stage.epochs for stage in training.resolved_stages()]
        [3, 1]
        """
        stages = self.stages or [StageConfig(epochs=self.epochs or 100)]
        left = math.inf if self.epochs is None else self.epochs
        out: list[Stage] = []
        for stage in [s for s in stages for _ in range(s.repeat)]:
            epochs = int(min(stage.epochs, left))
            if epochs < 1:
                break
            left -= epochs
            out.append(self._filled(stage, epochs))
        return out

    def _filled(self, stage: StageConfig, epochs: int) -> Stage:
        keys = ["learning_rate", "schedule", "final_learning_rate"]
        keys += ["scf_every", "batch_size"] if stage.mode == "scf" else ["validate_every"]
        own = {key: getattr(stage, key) for key in keys}
        values = {k: getattr(self, k) if v is None else v for k, v in own.items()}
        if stage.mode == "frozen":
            values["batch_size"] = stage.batch_size
        fines = self.penalties
        return Stage(
            epochs,
            stage.mode,
            optimizer=stage.optimizer,
            size_penalty=fines.size,
            roughness_penalty=fines.roughness,
            **values,
        )


class CrossValidationConfig(Section):
    """Train on all but one fold of the training entries, fold by fold; average the functionals.

    Barriers of one transition state are held out together.
    """

    folds: int = Field(5, ge=2, le=1000, description="parts, each held out once")
    repeats: int = Field(1, ge=1, le=1000, description="times to do so with other parts")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="of the parts")


class EvaluationConfig(Section):
    """What is evaluated after training: self-consistently, unless it is to be at fixed densities."""

    sets: Roles = Field(["train", "valid", "test"], description="evaluated with the trained functional")
    baseline_sets: Roles = Field(["test"], description="of these, evaluated with the baselines as well")
    fixed_densities: bool = Field(
        False, description="judge at the first densities of training: thousands of rows at no cost"
    )
    published: list[str] = Field(
        [], description="with fixed_densities: functionals whose published values stand beside"
    )
    scf_tol: float = Field(1e-6, ge=1e-12, le=1e-2, description="largest orbital gradient, Ha")
    processes: int | None = Field(
        None, ge=1, le=MOST_PROCESSES, description="worker processes (default: all cores)"
    )


class CurveConfig(Section):
    """The H2 dissociation curve of the run's plots; lengths in Bohr."""

    start: float = Field(0.6, ge=0.01, le=1000, description="first distance, Bohr")
    stop: float = Field(8.0, ge=0.01, le=1000, description="last distance, Bohr")
    points: int = Field(16, ge=2, le=10_000, description="number of distances")
    basis: str | None = Field(None, description="default: the basis of the data")


class OutputConfig(OutputSection):
    """Where the run directory is and what is drawn."""

    h2_curve: CurveConfig | Literal[False] = Field(
        CurveConfig(), description="dissociation curve among the figures, or false"
    )
    checkpoint_every: int = Field(1, ge=1, le=MOST_EPOCHS, description="scf epochs between checkpoints")

    @field_validator("h2_curve", mode="before")
    @classmethod
    def _true_is_default(cls, value: Any) -> Any:
        return {} if value is True or value is None else value


class RunConfig(BaseRunConfig):
    """A whole run: data, functional, training, baselines, evaluation, output."""

    data: DataConfig = Field(description="the entries")
    functional: FunctionalConfig = Field(FunctionalConfig(), description="what is trained")
    training: TrainingConfig = Field(TrainingConfig(), description="how it is trained")
    baselines: dict[str, str] = Field(
        {"LDA": "lda,pw", "PBE": "pbe", "B3LYP": "b3lyp"},
        description="conventional functionals of the tables: label to libxc name, or a list",
    )
    cross_validation: CrossValidationConfig | None = Field(
        None, description="folds, if an ensemble is trained; evaluated as set 'valid'"
    )
    evaluation: EvaluationConfig = Field(EvaluationConfig(), description="what is evaluated")
    output: OutputConfig = Field(OutputConfig(), description="what is written")

    @field_validator("baselines", mode="before")
    @classmethod
    def _labelled(cls, value: Any) -> Any:
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            return {name: name for name in value}
        return value

    @model_validator(mode="after")
    def _sections_fit(self) -> "RunConfig":
        fines = self.training.penalties
        network = self.functional.network
        factors = (self.functional.enhancement, self.functional.neighbours)
        fined = any(section is not None for section in factors) or (
            network.family == "lda" and network.inputs == "bounded"
        )
        if (fines.size or fines.roughness) and not fined:
            raise ValueError(
                "'training.penalties' has no meaning without 'functional.enhancement',"
                " 'functional.neighbours' or a bounded lda network"
            )
        if self.data.only_prepared and self.data.prepared is None:
            raise ValueError("'data.only_prepared' has no meaning without 'data.prepared'")
        if self.evaluation.fixed_densities:
            if self.training.resolved_stages()[0].mode != "frozen":
                raise ValueError("'evaluation.fixed_densities' wants a first stage of mode 'frozen'")
        elif self.evaluation.published:
            raise ValueError("'evaluation.published' has no meaning without 'fixed_densities'")
        if self.cross_validation is not None and self.data.valid:
            raise ValueError(
                "'cross_validation' holds out training entries itself: "
                "move what is in 'data.valid' to 'data.train'"
            )
        return self

    def locate(self, base: Path) -> None:
        """Make the paths of data absolute, which are relative to the configuration's folder."""
        for ref in (*self.data.train, *self.data.valid, *self.data.test):
            if ref.file is not None:
                ref.file = located(ref.file, base)
        if self.data.prepared is not None:
            self.data.prepared = located(self.data.prepared, base)

    def hashed(self) -> dict[str, Any]:
        """Return what can change a number: of files, the name alone; their content is hashed."""
        content = super().hashed()
        content["evaluation"] = {"scf_tol": content["evaluation"]["scf_tol"]}
        for refs in (content["data"][role] for role in ("train", "valid", "test")):
            for ref in refs:
                ref["file"] = ref["file"] and Path(ref["file"]).name
                _drop_unset(ref, "sets", "diet", "balance")
        _drop_unset(content["data"], "only_prepared")
        del content["data"]["prepared"]  # what was calculated before is what would be now
        _drop_unset(content["functional"], "dispersion", "neighbours")
        if content["functional"]["enhancement"] is not None:
            _drop_unset(content["functional"]["enhancement"], "range_separation")
        _drop_unset(content["training"], "first_densities")
        if self.training.target == "total":
            for key in ("target", "published", "largest_shift"):
                del content["training"][key]
        return content


def _drop_unset(section: dict[str, Any], *later: str) -> None:
    """Take keys out that say nothing, so that runs from before there were any are found the same."""
    for key in later:
        if section[key] in (None, False):
            del section[key]
