"""What a run configuration may say of the functional that is trained."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from deepchem_dft.runs.section import MOST_WEIGHTS, Section


def _possible(hidden: list[int]) -> list[int]:
    if any(not 1 <= width <= MOST_WEIGHTS for width in hidden):
        raise ValueError(f"layer widths must be at least 1, at most {MOST_WEIGHTS}")
    if sum(a * b for a, b in zip([8, *hidden], [*hidden, 1])) > MOST_WEIGHTS:
        raise ValueError(f"such layers have more than {MOST_WEIGHTS} weights")
    return hidden


#: Of the hidden layers of a network.
Widths = Annotated[list[int], Field(max_length=100), AfterValidator(_possible)]


class NetworkConfig(Section):
    """The neural part; the keys are those of ``deepchem_dft.xc.build_network``."""

    family: Literal["lda", "gga", "mgga"] = Field(
        "gga", description="what it sees: (n, xi), (n, xi, s) or (n, xi, s, alpha)"
    )
    hidden: Widths = Field([16, 16], description="widths of the hidden layers")
    activation: str = Field("silu", description="between the layers: silu, softplus, tanh, ...")
    inputs: Literal["bounded", "raw"] = Field(
        "bounded", description="transform the inputs to within [-1.2, 1], or not"
    )
    output: Literal["raw", "lda_exchange"] = Field(
        "lda_exchange", description="energy per electron (Ha), or a factor on LDA exchange"
    )
    max_output: float | None = Field(None, gt=0, le=1e6, description="bound of the network's value")
    ueg_exact: bool = Field(False, description="leave the uniform gas as it is (not for lda)")
    zero_last: bool = Field(True, description="start exactly at the conventional functional")
    dtype: Literal["float64", "float32"] = Field("float64", description="of the network alone")
    spin_symmetric: bool = Field(True, description="average over the sign of xi")


class RangeConfig(Section):
    """Exact exchange of another share at long range; see ``deepchem_dft.xc.ranges.RangeSeparation``."""

    omega: float = Field(0.3, gt=0, le=100, description="where short range ends, 1/Bohr")
    long_exchange: float = Field(1.0, ge=0, le=1, description="share of exact exchange at long range")
    attenuation: Literal["uniform", "ityh"] = Field(
        "uniform", description="of the parent's exchange: as in the wB97 functionals, or in LC-BLYP"
    )
    train: list[Literal["omega", "long_exchange"]] = Field([], description="what is trained")
    reach: list[float] = Field(
        [0.15, 0.5], min_length=2, max_length=2, description="where a trained omega stays, 1/Bohr"
    )
    nodes: int = Field(8, ge=2, le=32, description="values of omega with integrals, if it is trained")


class EnhancementConfig(Section):
    """Bounded factors on a parent's exchange and correlation; see ``EnhancedXC``."""

    hidden: Widths = Field([16, 16], description="widths of the hidden layers of both networks")
    activation: str = Field("silu", description="between the layers: silu, softplus, tanh, ...")
    degree: int | None = Field(
        None, ge=1, le=12, description="polynomials of this total degree in place of networks"
    )
    bound: float = Field(1.804, gt=1, lt=100, description="of the exchange enhancement factor")
    range_separation: RangeConfig | None = Field(
        None, description="exact exchange of two ranges; exchange is then its share at short range"
    )
    ueg_exact: bool = Field(True, description="leave the uniform gas as it is (not for lda)")
    dtype: Literal["float64", "float32"] = Field("float64", description="of the networks alone")
    zero_last: bool = Field(True, description="start exactly at the parent")


class NeighboursConfig(Section):
    """Bounded factors on a parent that depend on the density around a point; see ``NNNonlocal``."""

    hidden: Widths = Field([16, 16], description="widths of the hidden layers of every perceptron")
    channels: int = Field(8, ge=1, le=64, description="learned fields at every atom")
    radial: int = Field(6, ge=2, le=32, description="radial functions")
    descriptors: int = Field(6, ge=1, le=64, description="numbers that describe a point")
    layers: int = Field(1, ge=0, le=8, description="layers at atoms")
    degree: int = Field(3, ge=0, le=3, description="highest l of the spherical harmonics")
    cutoff: float = Field(5.0, ge=1, le=50, description="distance of points from nuclei, Bohr")
    activation: str = Field("silu", description="between the layers: silu, softplus, tanh, ...")
    bound: float = Field(1.804, gt=1, lt=100, description="of the exchange enhancement factor")
    ueg_exact: bool = Field(True, description="leave the uniform gas as it is")
    dtype: Literal["float64", "float32"] = Field("float64", description="of the networks alone")
    zero_last: bool = Field(True, description="start exactly at the parent")


class DispersionConfig(Section):
    """Energy of pairs and triples of atoms; see ``deepchem_dft.xc.dispersion.Dispersion``."""

    model: Literal["d3bj", "d3bjatm", "d4"] = Field(
        "d3bj", description="D3(BJ), the same with triples, or D4"
    )
    method: str | None = Field(None, description="functional whose published parameters to use (default: xc)")
    s6: float | None = Field(None, ge=-100, le=100, description="scale of C6/r^6")
    s8: float | None = Field(None, ge=-100, le=100, description="scale of C8/r^8")
    s9: float | None = Field(None, ge=-100, le=100, description="scale of triples")
    a1: float | None = Field(None, ge=-100, le=100, description="of the damping radius")
    a2: float | None = Field(None, ge=-100, le=100, description="of the damping radius, Bohr")
    train: list[Literal["s6", "s8", "s9", "a1", "a2"]] = Field([], description="parameters to train")


class FunctionalConfig(Section):
    """``xc = a * network + b * conventional + exact exchange``, or an enhanced parent.

    With ``enhancement`` or ``neighbours``, exchange and correlation of ``xc`` are each multiplied by a
    learned factor, and ``exchange`` takes the place of as much semilocal exchange.
    """

    xc: str = Field("pbe", description="conventional part, any name libxc knows")
    network: NetworkConfig = Field(NetworkConfig(), description="the learned part")
    enhancement: EnhancementConfig | None = Field(
        None, description="learned factors on xc in place of an added network"
    )
    neighbours: NeighboursConfig | None = Field(
        None, description="learned factors on xc that see the density around every point"
    )
    aweight0: float = Field(1.0, ge=-100, le=100, description="initial weight of the network")
    bweight0: float = Field(1.0, ge=-100, le=100, description="initial weight of the conventional part")
    train_a: bool = Field(False, description="train the weight of the network")
    train_b: bool = Field(False, description="train the weight of the conventional part")
    exchange: float | None = Field(
        None, ge=0, le=1, description="share of exact exchange (default: b times that of xc)"
    )
    train_exchange: bool = Field(False, description="train the share of exact exchange")
    dispersion: DispersionConfig | None = Field(
        None, description="part of the functional; xc may name it, too: pbe+d3bj"
    )

    @model_validator(mode="after")
    def _one_learned_part(self) -> "FunctionalConfig":
        for form in ("enhancement", "neighbours"):
            if getattr(self, form) is None:
                continue
            others = ("enhancement",) if form == "neighbours" else ()
            for name in ("network", "aweight0", "bweight0", "train_a", "train_b", *others):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"'{name}' has no meaning beside '{form}'")
        return self
