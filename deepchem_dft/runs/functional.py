"""From a configuration to an XCModel, and from a run directory back to its functional."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .hamiltonian_schema import HamiltonianRunConfig
from .ksr_schema import LatticeRunConfig
from .rundir import RunDirectory
from .schema import RunConfig

if TYPE_CHECKING:
    from ..models import XCModel
    from ..xc.base import XCFunctional

#: Folder of the trained model inside a run directory.
MODEL_DIR = "model"


def build_model(config: RunConfig, model_dir: str | Path | None = None) -> XCModel:
    """Return the untrained model a configuration describes.

    Parameters
    ----------
    config : RunConfig
    model_dir : path, optional
        Where the model keeps its checkpoints.

    Raises
    ------
    InputError, FunctionalError
        For a functional or network that cannot be.
    """
    from deepchem.models.optimizers import Adam, AdamW

    from ..models import XCModel

    functional, training = config.functional, config.training
    network = functional.network.model_dump(exclude={"spin_symmetric"})
    if functional.enhancement is not None:
        network = {"form": "enhancement", **functional.enhancement.model_dump()}
    rate, decay = training.learning_rate, training.weight_decay
    optimizer = AdamW(learning_rate=rate, weight_decay=decay) if decay else Adam(learning_rate=rate)
    try:
        return XCModel(
            functional.xc,
            network,
            family=network.get("family"),
            spin_symmetric=functional.network.spin_symmetric,
            aweight0=functional.aweight0,
            bweight0=functional.bweight0,
            train_a=functional.train_a,
            train_b=functional.train_b,
            exchange=functional.exchange,
            train_exchange=functional.train_exchange,
            loss=training.loss,
            loss_unit=training.loss_unit,
            huber_delta=training.huber_delta,
            type_weights={str(k): v for k, v in training.type_weights.items()},
            tol=training.scf_tol,
            grid_level=config.data.grid_level,
            density_fit=config.data.density_fit,
            scf_every=training.scf_every,
            scf_trust=training.scf_trust,
            two_grid=training.two_grid,
            max_grad_norm=training.gradient_clip,
            batch_size=training.batch_size,
            optimizer=optimizer,
            seed=training.seed,
            on_unconverged="nan",
            model_dir=None if model_dir is None else str(model_dir),
        )
    except InputError as error:
        raise error.located(field="functional") from None


def is_trained(directory: RunDirectory, config: Any) -> bool:
    """Whether the training of a run is done, and what it left is there."""
    if directory.status.get("state") not in ("trained", "finished"):
        return False
    if getattr(config, "cross_validation", None) is not None:
        from .cross_validation import NOTE

        return (directory / NOTE).is_file()
    from .. import checkpoint as files

    return bool(files.existing(directory / MODEL_DIR))


def load_model(run: str | Path) -> Any:
    """Return the trained model of a finished run: XCModel, KSRModel or HamiltonianModel.

    Raises
    ------
    InputError
        If the folder is no run directory, or nothing was trained in it yet.
    """
    directory = RunDirectory(run)
    config = directory.load_config()
    if getattr(config, "cross_validation", None) is not None:
        from ..models import XCModel
        from .cross_validation import load_ensemble

        return XCModel(xc=load_ensemble(directory), grid_level=config.data.grid_level)  # type: ignore[union-attr]
    folder = directory / MODEL_DIR
    if not folder.is_dir():
        raise InputError(
            "the training of this run has not finished",
            file=str(run),
            remedy="continue it with 'deepchem-dft train CONFIG.yaml --resume'",
        )
    from ..models import HamiltonianModel, KSRModel, XCModel

    if isinstance(config, HamiltonianRunConfig):
        return HamiltonianModel.load(str(folder))
    if isinstance(config, LatticeRunConfig):
        return KSRModel.load(str(folder))
    return XCModel.load(str(folder))


def load_functional(run: str | Path) -> XCFunctional:
    """Return the trained functional of a finished run, in evaluation mode.

    Raises
    ------
    InputError
        Also for a run of one-dimensional molecules, whose functional is none for real ones, and
        one on Hamiltonians.
    """
    config = RunDirectory(run).load_config()
    if isinstance(config, HamiltonianRunConfig):
        raise InputError("this run has trained no functional but a model of Hamiltonians",
                         file=str(run), remedy="use load_model(run), or 'scf --guess'")
    if isinstance(config, LatticeRunConfig):
        raise InputError("the functional of this run is for one-dimensional molecules",
                         file=str(run), remedy="use load_model(run).functional")
    return load_model(run).functional.eval()
