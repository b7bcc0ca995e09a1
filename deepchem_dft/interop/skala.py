"""Skala's functionals as functionals of this package: run, compared, fine-tuned (extra ``skala``)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepchem_dft.errors import CheckpointError, FunctionalError, InputError
from deepchem_dft.xc.base import XCFunctional

if TYPE_CHECKING:
    from deepchem_dft.xc.quadrature import Quadrature

__all__ = ["SkalaXC"]

#: Spin-scaled exchange of the uniform gas, which Skala multiplies, Ha Bohr.
_LDA_X = -(2.0 ** (1 / 3)) * 0.75 * (3.0 / math.pi) ** (1 / 3)
_FLOOR = 1e-5  # added to what a logarithm is taken of, in Skala's input
# Points that give less than this to the energy (Ha) and to every message are left out.
_NEGLIGIBLE = 1e-14
_REMEDY = "pip install 'deepchem-dft[skala]'"


def _skala() -> Any:
    try:
        import skala.functional
    except ImportError as error:
        raise FunctionalError(
            f"the skala package is not at hand ({error})", field="xc", remedy=_REMEDY
        ) from error
    return skala.functional


class SkalaXC(XCFunctional):
    r"""A functional of the ``skala`` package, whose points talk to each other through their atom.

    Every point's features go to the nucleus whose grid it belongs to, as spherical tensors, and come
    back from there; energies are enhancement factors of the uniform gas's exchange. Networks of
    :class:`skala.functional.SkalaFunctional` are evaluated here atom by atom, closed shells with one
    pass of the input layers in place of two, and messages as products of matrices; any other functional
    of that package through its own ``get_exc``.

    Parameters
    ----------
    functional : skala.functional.ExcFunctionalBase
        For instance a fresh ``SkalaFunctional()``; see :meth:`load` for published ones. Its parameters
        are trained as any functional's here. They are made float64 unless ``dtype`` says otherwise:
        in float32 an energy is good to some 1e-7 of itself, and a self-consistent field does not
        converge below that.
    dtype : {"float64", "float32"}
        Precision of the network alone.

    Raises
    ------
    FunctionalError
        If the package is missing, or the functional wants features that are not known here.

    References
    ----------
    Luise et al., arXiv:2506.14665 (2025), https://github.com/microsoft/skala (MIT).
    """

    family = "mgga"
    needs_quadrature = True
    needs_atomic_weights = True

    def __init__(self, functional: Any, *, dtype: str = "float64") -> None:
        super().__init__()
        package = _skala()
        if not isinstance(functional, package.ExcFunctionalBase):
            raise FunctionalError(
                f"{type(functional).__name__} is not a functional of the skala package",
                field="functional",
                remedy="pass skala.functional.SkalaFunctional(), or use SkalaXC.load('skala-1.1')",
            )
        unknown = {str(f) for f in functional.features} - set(_FEATURES)
        if unknown:
            raise FunctionalError(
                f"the functional reads {', '.join(sorted(unknown))}, which are not made here",
                field="functional",
                remedy=f"known are {', '.join(_FEATURES)}",
            )
        traced = isinstance(functional, package.TracedFunctional)
        #: Dispersion that belongs to the functional, as its package names it (``"b3lyp"``), or None.
        self.dispersion = functional.get_d3_settings()
        self.network = _eager(functional) if traced else functional
        if isinstance(self.network, package.SkalaFunctional):
            self.network.to(getattr(torch, dtype))

    @classmethod
    def load(cls, name: str = "skala-1.1", *, sha256: str | None = None, dtype: str = "float64") -> SkalaXC:
        """Load a published functional, or a file of one, by the hash that is expected of it.

        The files are TorchScript, which can execute anything, so none is opened whose contents are not
        known beforehand: for published names by the hashes that the ``skala`` package pins (it
        downloads them from Hugging Face), for a file by ``sha256``.

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
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise CheckpointError(
                f"{path} cannot be read ({error.strerror})", field="name", remedy="check the path"
            ) from error
        if found != expected.lower():
            raise CheckpointError(
                f"{path} has SHA-256 {found}, not {expected}", field="sha256", remedy="fetch the file again"
            )
        return cls(package.TracedFunctional.load(path, torch.device("cpu"), expected_hash=found), dtype=dtype)

    def energy_density(self, rho: Tensor) -> Tensor:
        """Not defined: see :meth:`energy`."""
        raise FunctionalError(
            "Skala's energy is no function of the density at a point",
            field="xc",
            remedy="call energy(rho, quadrature)",
        )

    def energy(self, rho: Tensor, quadrature: Quadrature) -> Tensor:
        """Exchange-correlation energy.

        Parameters
        ----------
        rho : Tensor, shape (1 or 2, 5, G)
        quadrature : Quadrature
            With the weights of each point before space is shared between atoms.

        Returns
        -------
        Tensor, 0-dimensional
            Ha, without dispersion.
        """
        total = rho.new_zeros(())
        if isinstance(self.network, _skala().SkalaFunctional):
            for atom, rows in _by_atom(quadrature):
                total = total + self._of_atom(
                    rho[:, :, rows],
                    quadrature.points[rows] - quadrature.positions[atom],
                    quadrature.weights[rows],
                    quadrature.atomic_weights[rows],
                )
            return total
        return total + self.network.get_exc(_features(rho, quadrature))

    def _of_atom(self, rho: Tensor, offsets: Tensor, weights: Tensor, bare: Tensor) -> Tensor:
        """Energy of the points of one atom, Ha; ``bare`` are their weights before sharing."""
        network, dtype = self.network, self.network.dtype
        density = rho[:, 0].sum(0)
        square = offsets.square().sum(1)
        heard = _heard(network, square, bare)
        kept = heard | (weights * density.clamp(min=0.0) ** (4 / 3) > _NEGLIGIBLE)
        if not bool(kept.all()):
            rho, offsets, square = rho[:, :, kept], offsets[kept], square[kept]
            weights, bare, density = weights[kept], bare[kept], density[kept]
        spins = rho if len(rho) == 2 else torch.cat([0.5 * rho] * 2)
        slope = spins[:, 1:4]
        inputs = torch.cat(
            [spins[:, 0], slope.square().sum(1), spins[:, 4], slope.sum(0).square().sum(0, keepdim=True)]
        )
        inputs = torch.log(inputs.abs() + _FLOOR).T.to(dtype)
        hidden = network.input_model(inputs)
        if len(rho) == 2:  # else both orders of the spins are the same
            hidden = 0.5 * (hidden + network.input_model(inputs[:, [1, 0, 3, 2, 5, 4, 6]]))

        distance = (square + 3e-20).sqrt()
        radial = network.radial_basis(distance.square()[:, None].to(dtype))
        angular = network.spherical_harmonics((offsets / distance[:, None]).to(dtype))
        fade = torch.exp(-density)[:, None].to(dtype)
        for layer in network.non_local_layers:
            hidden = _exchange_messages(layer, hidden, radial, angular, bare.to(dtype), fade)
        factor = network.output_model(hidden)[:, 0].double()
        gas = _LDA_X * (spins[:, 0].clamp(min=0.0) ** (4 / 3)).sum(0)
        return (weights * factor * gas).sum()

    def extra_repr(self) -> str:
        """Name the dispersion that belongs to it."""
        return f"dispersion={self.dispersion!r}"


def _heard(network: Any, square: Tensor, bare: Tensor) -> Tensor:
    """Which points matter to messages, at their squared distances to the nucleus (Bohr^2)."""
    with torch.no_grad():
        return network.radial_basis(square[:, None].to(network.dtype)).amax(1) * bare > _NEGLIGIBLE


def _exchange_messages(
    layer: Any, hidden: Tensor, radial: Tensor, angular: Tensor, bare: Tensor, fade: Tensor
) -> Tensor:
    """One layer of Skala's: from the points of an atom to its nucleus and back.

    The spherical tensors of single points are never formed: summing over points with a harmonic as
    weight is a product of matrices.
    """
    down, up = layer.tp_down._batched_W, layer.tp_up._batched_W
    sent = (layer.pre_down_layer(hidden) @ down) * (radial * bare[:, None])  # (l, G, channels)
    degrees = range(len(down))
    harmonics = [angular[:, l * l : (l + 1) ** 2] / math.sqrt(2 * l + 1) for l in degrees]
    coarse = torch.cat([(sent[l].mT @ harmonics[l]).reshape(1, -1) for l in degrees], dim=1)
    if layer.coarse_linear_type is not None:
        coarse = layer.coarse_linear(coarse)
    if layer.correlation > 1:
        coarse = layer.symmetric_product(coarse)
    channels, back = up.shape[1], 0.0
    for l in degrees:
        tensor = coarse[0, channels * l * l : channels * (l + 1) ** 2].reshape(channels, 2 * l + 1)
        back = back + harmonics[l] @ (tensor.mT @ up[l])
    back = layer.post_up_layer(back * radial)
    return layer.concat_layer(torch.cat([hidden, back * fade], dim=1))


def _by_atom(quadrature: Quadrature) -> Iterator[tuple[int, Tensor]]:
    """Atoms, and the rows of their points."""
    order = torch.argsort(quadrature.atoms, stable=True)
    counts = torch.bincount(quadrature.atoms, minlength=len(quadrature.positions)).tolist()
    for atom, rows in enumerate(order.split(counts)):
        if len(rows):
            yield atom, rows


#: What functionals of the skala package may read: everything but the Laplacian.
_FEATURES = (
    "density",
    "grad",
    "kin",
    "grid_coords",
    "grid_weights",
    "atomic_grid_weights",
    "atomic_grid_sizes",
    "atomic_grid_size_bound_shape",
    "coarse_0_atomic_coords",
)


def _features(rho: Tensor, quadrature: Quadrature) -> dict[str, Tensor]:
    """The input of a functional of the skala package, points sorted by atom."""
    order = torch.argsort(quadrature.atoms, stable=True)
    spins = (rho if len(rho) == 2 else torch.cat([0.5 * rho] * 2))[:, :, order]
    sizes = torch.bincount(quadrature.atoms, minlength=len(quadrature.positions))
    return {
        "density": spins[:, 0],
        "grad": spins[:, 1:4],
        "kin": spins[:, 4],
        "grid_coords": quadrature.points[order],
        "grid_weights": quadrature.weights[order],
        "atomic_grid_weights": quadrature.atomic_weights[order],
        "atomic_grid_sizes": sizes,
        "atomic_grid_size_bound_shape": sizes.new_zeros(int(sizes.max()), 0),
        "coarse_0_atomic_coords": quadrature.positions,
    }


def _eager(traced: Any) -> Any:
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
