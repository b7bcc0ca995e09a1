"""What the configuration of a one-dimensional run (``model: ksr``) may say."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from deepchem_dft.runs.section import (
    LARGEST_SEED,
    MOST_EPOCHS,
    MOST_ITERATIONS,
    MOST_SAMPLES,
    MOST_WEIGHTS,
    BaseRunConfig,
    OutputSection,
    Roles,
    Section,
    Weight,
)

#: Bohr, between nuclei; for ions of one nucleus its charge.
Distance = Annotated[float, Field(gt=0, le=1000)]
Channels = Annotated[int, Field(ge=1, le=1024)]
#: Of the grid, seen by a layer.
Points = Annotated[int, Field(ge=1, le=65_536)]


class CurveRef(Section):
    """Molecules of one family at several distances.

    The text form ``h2:test`` means ``{family: h2, distances: test}``.
    """

    family: str = Field(description="h2_plus, h2, h3_plus, h3, h4, h2h2, heh_plus, lih, beh_plus")
    distances: Literal["test", "valid", "curve"] | list[Distance] = Field(
        "test", description="Bohr; or those of the paper's test, the rest, or all of them"
    )
    label: str | None = Field(None, description="name in tables (default: the family)")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, values: Any) -> Any:
        if not isinstance(values, str):
            return values
        family, _, which = values.partition(":")
        return {"family": family, "distances": which or "test"}

    @field_validator("distances")
    @classmethod
    def _some(cls, distances: Any) -> Any:
        if not distances:
            raise ValueError("give at least one distance")
        return distances


class GridConfig(Section):
    """The line of points."""

    points: int = Field(513, ge=6, le=65_536, description="number of points, centred on 0")
    spacing: float = Field(0.08, gt=0, le=10, description="distance between points, Bohr")
    order: int = Field(5, ge=3, le=15, description="points of the central difference for the kinetic energy")


class LatticeDataConfig(Section):
    """Which molecules are trained on, selected on and tested on; exact values are made."""

    train: list[CurveRef] = Field(min_length=1, description="what the loss is made of")
    valid: list[CurveRef] = Field([], description="keys as in train; selects the parameters and the seed")
    test: list[CurveRef] = Field([], description="keys as in train; only evaluated, at the end")
    grid: GridConfig = Field(GridConfig(), description="where everything lives")


class LatticeFunctionalConfig(Section):
    """What is trained."""

    kind: Literal["global", "gradient", "local"] = Field(
        "global", description="network of the paper: all of the density, or 3 or 1 points of it"
    )
    hidden: list[Channels] | None = Field(None, max_length=32, description="channels of the hidden layers")
    windows: Points | list[Points] | None = Field(None, description="points each hidden layer sees")
    convolutions: int | None = Field(None, ge=0, le=1024, description="exponential convolutions (15)")
    gate: bool | None = Field(None, description="exact for one electron (default: the global kind is)")
    gate_width: float | None = Field(None, gt=0, le=1e3, description="of the gate at the start, electrons")
    polarised: bool = Field(False, description="treat spins apart")

    @model_validator(mode="after")
    def _possible(self) -> "LatticeFunctionalConfig":
        hidden, windows = self.hidden or [16], self.windows or 3
        widest = max(windows, default=1) if isinstance(windows, list) else windows
        inputs = 2 * (1 + (15 if self.convolutions is None else self.convolutions))
        if widest * sum(a * b for a, b in zip([inputs, *hidden], [*hidden, 1])) > MOST_WEIGHTS:
            raise ValueError(f"such layers have more than {MOST_WEIGHTS} weights")
        return self


class TrajectoryConfig(Section):
    """How Kohn-Sham equations are iterated."""

    iterations: int = Field(15, ge=1, le=MOST_ITERATIONS, description="K, at training")
    test_iterations: int | None = Field(
        None, ge=1, le=MOST_ITERATIONS, description="K otherwise (default: the same)"
    )
    mixing: float = Field(0.5, gt=0, le=1, description="share of the new density at first")
    decay: float = Field(0.9, gt=0, le=1, description="of that share, from each to the next")
    start: Literal["noninteracting", "atoms", "exact"] = Field("noninteracting", description="first density")
    burn_in: int = Field(0, ge=0, le=MOST_ITERATIONS, description="iterations of training without gradients")


class LatticeStageConfig(Section):
    """One stretch of training; what is left out is as in ``trajectory`` and ``training``.

    ``{iterations: 1, start: exact}`` learns a single step from the exact density. That takes a
    fraction of the time, and is the way in where trajectories are chaotic at first.
    """

    epochs: int = Field(ge=1, le=MOST_EPOCHS, description="iterations of L-BFGS, or epochs")
    iterations: int | None = Field(None, ge=1, le=MOST_ITERATIONS, description="of a trajectory")
    start: Literal["noninteracting", "atoms", "exact"] | None = Field(None, description="first density")
    burn_in: int | None = Field(None, ge=0, le=MOST_ITERATIONS, description="iterations without gradients")
    skip: int | None = Field(None, ge=0, le=MOST_ITERATIONS, description="iterations that do not count")
    energy_weight: Weight | None = Field(None, description="of squared errors")
    density_weight: Weight | None = Field(None, description="of int (n - n_exact)^2 dx")
    discount: float | None = Field(None, gt=0, le=1, description="of an energy")
    separability_weight: Weight | None = Field(None, description="of far copies")


class LatticeTrainingConfig(Section):
    """How the functional is fitted."""

    method: Literal["lbfgs", "adam"] = Field("lbfgs", description="optimiser")
    epochs: int = Field(
        200, ge=1, le=MOST_EPOCHS, description="iterations of L-BFGS, or epochs, for each seed"
    )
    stages: list[LatticeStageConfig] = Field(
        [], max_length=1000, description="stretches of training, in order, instead of epochs"
    )
    seeds: int = Field(1, ge=1, le=10_000, description="initial weights to try; see select")
    select: Literal["validation", "loss"] = Field(
        "validation", description="what chooses seed and epoch; loss: that of training, nothing else known"
    )
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="the first of them")
    validate_every: int = Field(5, ge=1, le=MOST_EPOCHS, description="epochs between validations")
    early_stopping: int | None = Field(
        None, ge=1, le=MOST_EPOCHS, description="validations without improvement"
    )
    learning_rate: float = Field(1e-3, gt=0, le=1e3, description="Adam's")
    batch_size: int = Field(8, ge=1, le=MOST_SAMPLES, description="molecules side by side; Adam's batches")
    energy_weight: Weight = Field(1.0, description="of squared errors, per square Hartree")
    density_weight: Weight = Field(1.0, description="of int (n - n_exact)^2 dx, Bohr")
    discount: float = Field(0.9, gt=0, le=1, description="of an energy, by iterations before K")
    skip: int | None = Field(
        None, ge=0, le=MOST_ITERATIONS, description="iterations that do not count (all but 5)"
    )
    separability_weight: Weight = Field(
        0.0, description="of twice the energy for two far copies of a molecule"
    )


class LatticeEvaluationConfig(Section):
    """What is evaluated after training."""

    sets: Roles = Field(["train", "valid", "test"], description="evaluated with the trained functional")
    baseline: bool = Field(True, description="the uniform-gas LDA as well, on the test sets")
    tol: float = Field(1e-2, gt=0, le=100, description="electrons the last iteration may move")


class LatticeOutputConfig(OutputSection):
    """Where the run directory is and what is drawn."""

    plots: bool = Field(True, description="draw curves, their errors, and trajectories")
    checkpoint_every: int = Field(20, ge=1, le=MOST_EPOCHS, description="epochs between checkpoints")


class LatticeRunConfig(BaseRunConfig):
    """A whole one-dimensional run: data, functional, iteration, training, evaluation, output."""

    model: Literal["ksr"] = Field("ksr", description="says that the file is one of these")
    data: LatticeDataConfig = Field(description="the molecules")
    functional: LatticeFunctionalConfig = Field(LatticeFunctionalConfig(), description="what is trained")
    trajectory: TrajectoryConfig = Field(TrajectoryConfig(), description="how it is iterated")
    training: LatticeTrainingConfig = Field(LatticeTrainingConfig(), description="how it is trained")
    evaluation: LatticeEvaluationConfig = Field(LatticeEvaluationConfig(), description="what is evaluated")
    output: LatticeOutputConfig = Field(LatticeOutputConfig(), description="what is written")

    def hashed(self) -> dict[str, Any]:
        """Return what can change a number: not what is only evaluated."""
        content = super().hashed()
        content.pop("evaluation")
        content["data"].pop("test")
        return content
