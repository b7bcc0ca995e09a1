"""Whole models as plain data and back: KSR, equilibrium and Hamiltonian networks."""

import inspect
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import nn

from deepchem_dft.errors import CheckpointError, FunctionalError, InputError

#: Class of each kind of model. A model has ``config``, plain arguments of its constructor.
_CLASSES = {"ksr": "KSRModel", "deq": "DEQModel", "hamiltonian": "HamiltonianModel"}
#: Arguments that a file has no say in: places to write to, devices, code.
_FORBIDDEN = (
    "model_dir",
    "device",
    "tensorboard",
    "wandb",
    "wandb_logger",
    "optimizer",
    "self",
    "regularization_loss",
    "log_frequency",
)


def kind_of(thing: Any) -> str:
    """Return the kind of a functional or model.

    Raises
    ------
    InputError
        If it is neither.
    """
    from deepchem_dft.xc.base import XCFunctional

    if isinstance(thing, XCFunctional):
        return "functional"
    for kind, name in _CLASSES.items():
        if type(thing).__name__ == name:
            return kind
    remedy = (
        "give model.functional"
        if type(thing).__name__ == "XCModel"
        else (f"give a functional, or one of {', '.join(_CLASSES.values())}")
    )
    raise InputError(f"a {type(thing).__name__} cannot be put into the zoo", remedy=remedy)


def module_of(thing: Any) -> nn.Module:
    """Return the module that holds the weights."""
    return thing if isinstance(thing, nn.Module) else thing.model


def write_form(kind: str, thing: Any) -> dict[str, Any]:
    """Return the form of a functional or model as plain data.

    Raises
    ------
    FunctionalError
        If it has a part whose code is the user's own.
    """
    if kind == "functional":
        from deepchem_dft.zoo.forms import form_of

        return form_of(thing)
    config = {key: value for key, value in thing.config.items() if key not in _FORBIDDEN}
    if kind == "ksr":
        origin, name = config.pop("origin"), config.pop("xcstr")
        if origin != "built":
            raise FunctionalError(
                "the functional of this model is the user's own code",
                field="form",
                remedy="use one of KSRModel's by name",
            )
        config["functional"] = name
    return config


def model_of_form(kind: str, form: Any) -> Any:
    """Return a functional or model of a form, its weights not yet those of any file.

    Raises
    ------
    InputError, CheckpointError
        If the form cannot be, or needs a later version.
    """
    if kind == "functional":
        from deepchem_dft.xc.base import XCFunctional
        from deepchem_dft.zoo.forms import build_form

        found = build_form(form)
        if not isinstance(found, XCFunctional):
            raise InputError("the form is that of a network, not of a functional", field="form")
        return found
    from deepchem_dft import models

    known = getattr(models, _CLASSES[kind], None)
    if known is None:
        raise CheckpointError(
            f"this version of deepchem_dft has no {_CLASSES[kind]}. Remedy: update deepchem_dft."
        )
    options = _allowed(known, form)
    if kind == "ksr" and "grid" in options:
        options["grid"] = _grid(options["grid"])
    try:
        return known(**options)
    except InputError as error:
        raise error.located(field="form") from None
    except ModuleNotFoundError:  # of a package that is not installed, which is no fault of the form
        raise
    except Exception as error:  # the arguments are anybody's, of any type
        raise InputError(f"a {known.__name__} cannot be built: {str(error)[:200]}", field="form") from None


def _allowed(known: Any, form: Any) -> dict[str, Any]:
    """Return the arguments of a form if all of them are plain ones of the constructor."""
    parameters = inspect.signature(known.__init__).parameters.values()
    names = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD} - {*_FORBIDDEN}
    groups = getattr(known, "grouped", {})
    names = names - {*groups} | {one.name for kind in groups.values() for one in fields(kind)}
    names |= {"batch_size", "learning_rate"}
    if not isinstance(form, Mapping):
        raise InputError("the form is not a set of arguments", field="form")
    for name, value in form.items():
        if name not in names:
            raise InputError(
                f"{known.__name__} has no argument {name[:60]!r} that a file may set", field="form"
            )
        if isinstance(value, int) and value > 2**16 and name != "seed":
            raise InputError(f"'{name}' is too large", field="form")
    return dict(form)


def _grid(numbers: Any) -> Any:
    from deepchem_dft.lattice.grid import Grid

    try:
        points, spacing, order = numbers
        if points > 2**16:
            raise ValueError("too many points")
        return Grid(points, spacing, order)
    except (TypeError, ValueError) as error:
        raise InputError(f"{str(numbers)[:60]} is no grid: {error}", field="form.grid") from None
