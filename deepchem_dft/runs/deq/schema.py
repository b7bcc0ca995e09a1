"""What the configuration of a run on properties (``model: deq``) may say."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from deepchem_dft.runs.section import (
    LARGEST_SEED,
    MOST_EPOCHS,
    MOST_SAMPLES,
    AdjointName,
    BaseRunConfig,
    Evaluations,
    OutputSection,
    Roles,
    Section,
    SolverName,
    Tolerance,
    Weight,
    located,
)

Pooling = Literal["mean", "sum", "max", "attention", "pairs"]


class PropertyDataConfig(Section):
    """Labels of molecules or crystals, split into training, validation and test."""

    source: Literal["nci", "labelled", "qmugs", "qmof", "oqmd"] = Field(
        "nci", description="the package's labels, those of 'data label', or a published set"
    )
    path: str | None = Field(
        None, description="labelled: the CSV file; qmugs, qmof, oqmd: folder of the download"
    )
    tasks: list[str] = Field(
        ["dipole"],
        min_length=1,
        max_length=16,
        description="quantities, or one classification: polar, pore, cavity, conduction",
    )
    threshold: list[Annotated[float, Field(ge=-1e9, le=1e9)]] | None = Field(
        None, max_length=16, description="of a classification (default: the median, or as published)"
    )
    featurizer: Literal["molgraphconv", "dmpnn", "ecfp", "rdkit", "crystal"] = Field(
        "molgraphconv", description="graphs or vectors of molecules, or graphs of crystals"
    )
    splitter: Literal["scaffold", "random", "index", "fingerprint"] = Field(
        "scaffold", description="8 : 1 : 1"
    )
    limit: int | None = Field(None, ge=1, le=MOST_SAMPLES, description="keep the first so many of each part")

    @model_validator(mode="after")
    def _found(self) -> "PropertyDataConfig":
        if (self.source == "nci") != (self.path is None):
            raise ValueError("'path' is needed for all sources but nci, and for that one not")
        return self


class PropertyNetworkConfig(Section):
    """The network; see ``DEQModel``."""

    cell: Literal["graph", "fingerprint"] = Field("graph", description="what the features are")
    width: int = Field(64, ge=1, le=4096, description="features of the fixed point")
    layers: int = Field(1, ge=1, le=32, description="in one evaluation of the cell")
    bound: float | None = Field(
        0.9, gt=0, le=1e3, description="slope of the cell at most; below 1 the fixed point exists"
    )
    pooling: list[Pooling] = Field(
        ["mean", "sum", "max"], min_length=1, description="from atoms to the molecule"
    )
    hidden: int = Field(64, ge=0, le=4096, description="between fixed point and prediction")
    dropout: float = Field(0.0, ge=0, lt=1, description="on the fixed point and that layer")
    jacobian_weight: Weight = Field(0.0, description="of the cell's Jacobian, without bound")
    solver: SolverName = "anderson"
    adjoint: AdjointName = "implicit"
    tol: Tolerance = Field(None, description="relative residual (2e-6)")
    train_tol: Tolerance = Field(None, description="the same in training (1e-4)")
    max_iter: Evaluations = Field(200, description="evaluations of the cell")
    reuse: bool = Field(False, description="start from the last fixed point of the same molecule")
    dtype: Literal["float32", "float64"] = Field("float32", description="of the network")


class PropertyTrainingConfig(Section):
    """How the network is trained."""

    epochs: int = Field(10, ge=1, le=MOST_EPOCHS, description="passes through the data, at most")
    batch_size: int = Field(100, ge=1, le=MOST_SAMPLES, description="samples per step")
    learning_rate: float = Field(1e-3, gt=0, le=1e3, description="Adam's")
    validate_every: int = Field(1, ge=1, le=MOST_EPOCHS, description="epochs between validations")
    early_stopping: int | None = Field(
        None, ge=1, le=MOST_EPOCHS, description="validations without improvement"
    )
    select_best: bool = Field(True, description="keep the parameters of the best validation")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="of initial weights, order of samples, dropout")


class PropertyEvaluationConfig(Section):
    """What is evaluated after training."""

    sets: Roles = Field(["test"], description="evaluated with the trained network")
    baselines: list[Literal["mean", "forest-ecfp", "forest-descriptors"]] = Field(
        ["mean", "forest-ecfp"],
        description="beside it: the training mean (commonest class), random forests of 500 trees "
        "(molecules only)",
    )


class PropertyOutputConfig(OutputSection):
    """Where the run directory is and what is drawn."""

    plots: bool = Field(True, description="draw learning curve and parity")
    checkpoint_every: int = Field(1, ge=1, le=MOST_EPOCHS, description="epochs between checkpoints")


class PropertyRunConfig(BaseRunConfig):
    """A whole run: data, network, training, evaluation, output."""

    model: Literal["deq"] = Field("deq", description="says what the file is")
    data: PropertyDataConfig = Field(PropertyDataConfig(), description="the labels")
    network: PropertyNetworkConfig = Field(PropertyNetworkConfig(), description="what is trained")
    training: PropertyTrainingConfig = Field(PropertyTrainingConfig(), description="how it is trained")
    evaluation: PropertyEvaluationConfig = Field(PropertyEvaluationConfig(), description="what is evaluated")
    output: PropertyOutputConfig = Field(PropertyOutputConfig(), description="what is written")

    def locate(self, base: Path) -> None:
        """Make the path of the data absolute, which is relative to the configuration's folder."""
        if self.data.path is not None:
            self.data.path = located(self.data.path, base)

    def hashed(self) -> dict[str, Any]:
        """Return what can change a number: not what is only evaluated, nor where files lie."""
        content = super().hashed()
        content.pop("evaluation")
        content["data"]["path"] = self.data.path and Path(self.data.path).name
        return content
