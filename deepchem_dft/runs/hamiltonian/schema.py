"""What the configuration of a run on Hamiltonians (``model: hamiltonian``) may say."""

import shlex
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


class HamiltonianSetRef(Section):
    """Some molecules of a file.

    The text form ``water.h5:*/300K/*`` means ``{file: water.h5, match: "*/300K/*"}``.
    """

    file: str = Field(description="HDF5 of 'deepchem-dft data hamiltonian', or a database")
    format: Literal["hdf5", "md17", "qh9"] = Field("hdf5", description="whose file it is")
    part: Literal["train", "valid", "test", "all"] = Field(
        "all", description="of the published split, for md17 and qh9"
    )
    match: str | None = Field(None, description="keep names like this, such as */300K/*")
    skip: int = Field(0, ge=0, le=MOST_SAMPLES, description="then drop the first so many")
    limit: int | None = Field(None, ge=1, le=MOST_SAMPLES, description="then keep the first so many")
    label: str | None = Field(None, description="name in tables (default: file and match)")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, values: Any) -> Any:
        if not isinstance(values, str):
            return values
        file, _, match = values.partition(":")
        return {"file": file, "match": match or None}


class HamiltonianRecipe(Section):
    """How a file of the data is made, should it be missing: options of the command."""

    file: str = Field(description="the file, as in the sets")
    input: str = Field(description="molecules: .xyz, .smi or .sdf")
    xc: str = Field("pbe", description="functional, as PySCF spells it")
    basis: str = Field("def2-svp", description="basis set")
    sampling: Literal["none", "modes", "dynamics"] = Field(
        "none", description="geometries: those given, along normal modes, GFN2-xTB dynamics"
    )
    temperatures: list[Annotated[float, Field(gt=0, le=1e5)]] = Field(
        [300.0], max_length=1000, description="Kelvin, of the sampling"
    )
    samples: int = Field(100, ge=1, le=MOST_SAMPLES, description="geometries per molecule and temperature")
    charge: int | None = Field(
        None, ge=-100, le=100, description="of each molecule; default: of the xyz comment lines, or 0"
    )
    grid_level: int = Field(3, ge=0, le=9, description="quadrature")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="of the sampling")

    def command(self) -> str:
        """Return the command that makes the file."""
        words = ["deepchem-dft", "data", "hamiltonian", self.input]
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name in ("file", "input") or value == field.default:
                continue
            if self.sampling == "none" and name in ("temperatures", "samples"):
                continue
            option = "--temperature" if name == "temperatures" else f"--{name.replace('_', '-')}"
            for one in value if isinstance(value, list) else [value]:
                words += [option, f"{one:g}" if isinstance(one, float) else str(one)]
        return shlex.join([*words, "--out", self.file])


class HamiltonianDataConfig(Section):
    """Which molecules are trained on, selected on and tested on."""

    recipes: list[HamiltonianRecipe] = Field([], description="how files are made")
    train: list[HamiltonianSetRef] = Field(min_length=1, description="what is learnt from")
    valid: list[HamiltonianSetRef] = Field([], description="keys as in train; selects the parameters")
    test: list[HamiltonianSetRef] = Field([], description="keys as in train; only evaluated")


class HamiltonianNetworkConfig(Section):
    """What is trained; see `HamiltonianModel`."""

    form: Literal["direct", "delta", "equilibrium", "equilibrium-delta"] = Field(
        "delta", description="H or its difference to the guess; fed back or not"
    )
    guess: Literal["minao", "sap"] = Field("minao", description="superposed atomic densities, or potentials")
    inputs: list[Literal["overlap", "core", "guess"]] = Field(
        ["overlap", "core", "guess"], min_length=1, description="matrices that are seen"
    )
    width: int = Field(32, ge=1, le=1024, description="channels")
    layers: int = Field(2, ge=0, le=32, description="rounds of messages")
    hidden: int = Field(128, ge=1, le=4096, description="width of networks of invariants")
    cutoff: float = Field(15.0, gt=0, le=1000, description="Bohr; further pairs keep the guess")
    n_radial: int = Field(16, ge=1, le=1024, description="radial functions")
    feedback_width: int = Field(16, ge=1, le=1024, description="channels of what is fed back")
    bound: float | None = Field(0.9, gt=0, le=1e3, description="slope of the feedback at most")
    solver: SolverName = "anderson"
    adjoint: AdjointName = "implicit"
    tol: Tolerance = Field(None, description="relative residual (1e-5)")
    train_tol: Tolerance = Field(None, description="the same in training (1e-4)")
    max_iter: Evaluations = Field(50, description="evaluations of the feedback")
    dtype: Literal["float32", "float64"] = Field("float32", description="of the network")


class HamiltonianTrainingConfig(Section):
    """How the network is trained."""

    epochs: int = Field(100, ge=1, le=MOST_EPOCHS, description="passes through the data")
    batch_size: int = Field(16, ge=1, le=MOST_SAMPLES, description="molecules per step")
    learning_rate: float = Field(3e-3, gt=0, le=1e3, description="Adam's, at its highest")
    warmup: int = Field(100, ge=0, le=MOST_EPOCHS, description="steps over which it rises")
    decay: float = Field(1.0, ge=0, le=100, description="it falls like (1 - t)^decay")
    ema: float = Field(0.99, ge=0, lt=1, description="share of the old in averaged parameters")
    max_grad_norm: float | None = Field(50.0, gt=0, le=1e9, description="longer gradients are cut")
    mae_weight: Weight = Field(1.0, description="of mean absolute errors of H")
    mse_weight: Weight = Field(1.0, description="of mean square errors of H")
    orbital_weight: Weight = Field(0.0, description="of orbital energies")
    commutator_weight: Weight = Field(0.0, description="of self-consistency, costly")
    unit: float = Field(1e-3, ge=1e-12, le=1e3, description="of errors in the loss, Hartree")
    validate_every: int = Field(5, ge=1, le=MOST_EPOCHS, description="epochs between validations")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="of initial weights and order of molecules")


class HamiltonianEvaluationConfig(Section):
    """What is evaluated after training."""

    sets: Roles = Field(["test"], description="evaluated with the trained network")
    baseline: bool = Field(True, description="errors of the guess, and of a polynomial for one molecule")
    energies: int = Field(
        0, ge=0, le=MOST_SAMPLES, description="molecules per set whose total energies are compared"
    )
    cycles: int = Field(
        0, ge=0, le=MOST_SAMPLES, description="molecules per set whose PySCF cycles are counted (1e-9 Ha)"
    )


class HamiltonianOutputConfig(OutputSection):
    """Where the run directory is and what is drawn."""

    plots: bool = Field(True, description="draw learning curve, orbital energies, iterations")
    checkpoint_every: int = Field(10, ge=1, le=MOST_EPOCHS, description="epochs between checkpoints")


class HamiltonianRunConfig(BaseRunConfig):
    """A whole run: data, network, training, evaluation, output."""

    model: Literal["hamiltonian"] = Field("hamiltonian", description="says what the file is")
    data: HamiltonianDataConfig = Field(description="the molecules")
    network: HamiltonianNetworkConfig = Field(HamiltonianNetworkConfig(), description="what is trained")
    training: HamiltonianTrainingConfig = Field(HamiltonianTrainingConfig(), description="how it is trained")
    evaluation: HamiltonianEvaluationConfig = Field(
        HamiltonianEvaluationConfig(), description="what is evaluated"
    )
    output: HamiltonianOutputConfig = Field(HamiltonianOutputConfig(), description="what is written")

    def locate(self, base: Path) -> None:
        """Make the paths of data absolute, which are relative to the configuration's folder."""
        data = self.data
        for ref in (*data.train, *data.valid, *data.test):
            ref.file = located(ref.file, base)
        for recipe in data.recipes:
            recipe.file, recipe.input = located(recipe.file, base), located(recipe.input, base)

    def hashed(self) -> dict[str, Any]:
        """Return what can change a number: not what is only evaluated, nor where files lie."""
        content = super().hashed()
        content.pop("evaluation")
        content["data"] = {
            role: [{**ref, "file": Path(ref["file"]).name} for ref in content["data"][role]]
            for role in ("train", "valid")
        }
        return content
