"""From a configuration to an XCModel."""

from pathlib import Path
from typing import TYPE_CHECKING

from deepchem_dft.errors import InputError
from deepchem_dft.runs.xc.schema import RunConfig

if TYPE_CHECKING:
    from deepchem_dft.models import XCModel
    from deepchem_dft.scf.solutions import Functional


def named_start(config: RunConfig) -> "Functional | None":
    """Return the functional at whose densities training begins, if the configuration names one.

    Raises
    ------
    FunctionalError
        For an unknown name.
    """
    from deepchem_dft.scf.solutions import Functional

    name = config.training.first_densities
    return None if name is None else Functional.named(name)


def build_xc_model(config: RunConfig, model_dir: str | Path | None = None) -> "XCModel":
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

    from deepchem_dft.models import XCModel

    functional, training = config.functional, config.training
    network = functional.network.model_dump(exclude={"spin_symmetric"})
    if functional.enhancement is not None:
        network = {"form": "enhancement", **functional.enhancement.model_dump()}
    if functional.neighbours is not None:
        network = {"form": "nonlocal", **functional.neighbours.model_dump()}
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
            dispersion=None
            if functional.dispersion is None
            else functional.dispersion.model_dump(exclude_none=True),
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
