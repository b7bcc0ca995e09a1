"""Networks for neural functionals, built from a plain configuration."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deepchem_dft.errors import FunctionalError
from deepchem_dft.torchstate import unaffected
from deepchem_dft.xc.features import LDA_X, power
from deepchem_dft.xc.neural import INPUTS
from deepchem_dft.xc.penalty import fine

#: Activations by name, all with a continuous first derivative: a potential must not jump.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "mish": nn.Mish,
    "sigmoid": nn.Sigmoid,
    "elu": nn.ELU,
    "celu": nn.CELU,
}
#: Precisions by name.
DTYPES = {"float64": torch.float64, "float32": torch.float32}
_FAMILY_OF_SIZE = {len(names): family for family, names in INPUTS.items()}
#: Far beyond any functional; a slip of the key would only fill the memory.
_MOST_WEIGHTS = 10**9
_RS = 0.6203504908994  # r_s n^(1/3)


class ExpM1Activation(nn.Module):
    """exp(x) - 1, the activation of DeepChem's network type 2."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the activation."""
        return torch.expm1(x)


def perceptron(
    sizes: Sequence[int],
    activation: str,
    *,
    bias_last: bool = True,
    zero_last: bool = False,
    dtype: torch.dtype = torch.float64,
    seed: int | None = None,
) -> nn.Sequential:
    """Build a multilayer perceptron whose initial weights depend on ``seed`` alone.

    Parameters
    ----------
    sizes : sequence of int
        Widths from the inputs to the outputs.
    activation : str
        One of :data:`ACTIVATIONS`, between the layers.
    bias_last, zero_last : bool
        Whether the last layer has a constant, and starts at zero.
    seed : int, optional
        ``None`` draws from the global random state, which is left alone otherwise.

    Examples
    --------
    >>> len(perceptron([2, 8, 1], "silu", seed=0))
    3
    """
    if sum(a * b for a, b in zip(sizes, sizes[1:], strict=False)) > _MOST_WEIGHTS:
        raise _bad("hidden", list(sizes[1:-1]), f"at most {_MOST_WEIGHTS} weights in all")
    layers: list[nn.Module] = []
    # a private random state: building a network must not shift anyone else's
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        for width, following in zip(sizes[:-2], sizes[1:-1], strict=True):
            layers += [nn.Linear(width, following, dtype=dtype), ACTIVATIONS[activation]()]
        layers.append(nn.Linear(sizes[-2], sizes[-1], bias=bias_last, dtype=dtype))
        drawn = torch.random.get_rng_state()
    if seed is None:  # unseeded: go on from the global state as any other module does
        torch.random.set_rng_state(drawn)
    if zero_last:
        for parameter in layers[-1].parameters():
            nn.init.zeros_(parameter)
    return nn.Sequential(*layers)


class XCNetwork(nn.Module):
    """A multilayer perceptron from raw density features to an energy per electron.

    Built by :func:`build_network`, whose arguments are kept in ``config``:
    ``XCNetwork(**network.config)`` makes an untrained copy.

    Attributes
    ----------
    config : dict
        Plain values only, fit for YAML or JSON.
    even_in_xi : bool
        True if the network does not see the sign of xi.
    casts_inputs : bool
        True: inputs of any float type are taken, and the result has that type.
    """

    casts_inputs = True

    def __init__(
        self,
        *,
        family: str,
        hidden: Sequence[int],
        activation: str,
        inputs: str,
        output: str,
        max_output: float | None,
        zero_last: bool,
        ueg_exact: bool,
        dtype: str,
        seed: int | None,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "family": family,
            "hidden": [int(h) for h in hidden],
            "activation": activation,
            "inputs": inputs,
            "output": output,
            "max_output": max_output,
            "zero_last": zero_last,
            "ueg_exact": ueg_exact,
            "dtype": dtype,
            "seed": seed,
        }
        self.family, self.bounded = family, inputs == "bounded"
        self.even_in_xi = self.bounded
        self.output, self.max_output, self.ueg_exact = output, max_output, ueg_exact
        sizes = [len(self._features(torch.ones(1, len(INPUTS[family])))[0]), *hidden]
        # a constant would cancel in the difference to the uniform gas
        self.layers = perceptron(
            [*sizes, 1],
            activation,
            bias_last=not ueg_exact,
            zero_last=zero_last,
            dtype=DTYPES[dtype],
            seed=seed,
        )

    def extra_repr(self) -> str:
        """Name all options: caches tell networks of equal weights apart by them."""
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())

    def _features(self, x: Tensor) -> Tensor:
        """Turn raw inputs (G, k) into those the first layer sees."""
        if not self.bounded:
            return x
        n, xi, *more = x.unbind(1)
        root = power(n, 1.0 / 3.0)
        features = [root / (root + _RS), xi * xi]  # 1/(1 + rs): 0 in the tail, 1 in the core
        if more:
            s2 = more[0] * more[0]
            features += [s2 / (1.0 + s2), s2 / (16.0 + s2)]
        if len(more) > 1:
            alpha = more[1]
            features.append((alpha - 1.0) / (alpha + 1.0))
        return torch.stack(features).T

    def _perceptron(self, x: Tensor) -> Tensor:
        # Only the layers run in the network's own precision: a factor rounded to it, such as that
        # of exchange, would be an error of the same sign at every point.
        features = self._features(x).to(next(self.layers.parameters()).dtype)
        return self.layers(features).to(x.dtype)

    def penalty(self, size: float, roughness: float) -> Tensor:
        """Return the fine for a large and for a rough network of (n, xi), differentiable.

        Parameters
        ----------
        size : float
            Times the mean square of the network over the square of its inputs 1/(1 + rs), xi^2.
        roughness : float
            Times that of its second derivatives along random directions, whose components have
            unit variance (by finite differences at fixed random points).

        Raises
        ------
        FunctionalError
            For other inputs, whose range is not a square.

        Examples
        --------
        >>> build_network(family="lda", hidden=[4], seed=0).penalty(1.0, 1.0).item()
        0.0
        """
        if self.family != "lda" or not self.bounded:
            raise FunctionalError(
                "penalties are for networks of bounded (n, xi)",
                field="penalties",
                remedy="use an enhancement, or none",
            )
        generator = torch.Generator().manual_seed(2)
        weight = next(self.layers.parameters())
        draw: dict[str, Any] = {"generator": generator, "dtype": torch.float64}
        points = torch.rand(1500, 2, **draw).to(weight.device)
        directions = torch.randn(1500, 2, **draw).to(weight.device)
        return fine(lambda x: self._bounded(self.layers(x.to(weight))), points, directions, size, roughness)

    def _bounded(self, value: Tensor) -> Tensor:
        if self.max_output is None:
            return value
        return self.max_output * torch.tanh(value / self.max_output)

    def forward(self, x: Tensor) -> Tensor:
        """Map raw features (G, 2, 3 or 4) to energies per electron (G, 1) in Ha."""
        value = self._perceptron(x)
        if self.ueg_exact:
            uniform = torch.stack([torch.full_like(x[:, 0], v) for v in (0.0, 1.0)], -1)
            at_ueg = torch.cat([x[:, :2], uniform[:, : x.shape[1] - 2]], -1)
            value = value - self._perceptron(at_ueg)
        value = self._bounded(value)
        if self.output == "lda_exchange":
            value = value * (LDA_X * power(x[:, :1], 1.0 / 3.0))
        return value


@unaffected
def build_network(
    input_size: int | None = None,
    hidden: Sequence[int] = (16, 16),
    activation: str = "silu",
    *,
    family: str | None = None,
    inputs: str = "bounded",
    output: str = "raw",
    max_output: float | None = None,
    zero_last: bool = True,
    ueg_exact: bool = False,
    dtype: str | torch.dtype = "float64",
    seed: int | None = None,
) -> XCNetwork:
    """Build a network that NNLDA, NNPBE, NNMGGA or HybridXC accept.

    Parameters
    ----------
    input_size : int, optional
        2, 3 or 4; by default what ``family`` needs.
    hidden : sequence of int
        Width of each hidden layer; empty for a linear model.
    activation : str
        One of :data:`ACTIVATIONS`.
    family : {"lda", "gga", "mgga"}, optional
        By default the one that ``input_size`` belongs to, or lda.
    inputs : {"bounded", "raw"}
        ``raw``: n, xi, s, alpha as they come (DeepChem). ``bounded``: 1/(1 + rs), xi^2,
        s^2/(1 + s^2), s^2/(16 + s^2), (alpha - 1)/(alpha + 1), all within [-1.2, 1]; even in xi.
    output : {"raw", "lda_exchange"}
        ``raw``: the energy per electron in Ha. ``lda_exchange``: a factor on the exchange energy
        per electron of the uniform gas, -0.7386 n^(1/3), so that it fades with the density.
    max_output : float, optional
        Keep the perceptron's value within plus and minus this, by a tanh.
    zero_last : bool
        Start the last layer at zero, so that training starts at the conventional functional.
    ueg_exact : bool
        Subtract the value at s = 0, alpha = 1, so that the uniform gas is left as it is. Not for
        lda. Doubles the cost.
    dtype : {"float64", "float32"} or torch.dtype
    seed : int, optional
        Seed of the initial weights; the global random state is left alone. ``None`` draws them
        from the global state.

    Returns
    -------
    XCNetwork

    Raises
    ------
    FunctionalError
        For an option that does not exist or does not fit the others.

    Examples
    --------
    >>> net = build_network(family="gga", hidden=(8,), output="lda_exchange", seed=0)
    >>> net(torch.rand(5, 3, dtype=torch.float64)).abs().max().item()
    0.0
    >>> XCNetwork(**net.config).config == net.config
    True
    """
    if family is None:
        family = _FAMILY_OF_SIZE.get(2 if input_size is None else input_size)
    if family not in INPUTS:
        raise _bad(
            "family" if input_size is None else "input_size",
            family or input_size,
            "family lda, gga or mgga; input_size 2, 3 or 4",
        )
    if input_size not in (None, len(INPUTS[family])):
        raise _bad("input_size", input_size, f"{len(INPUTS[family])} for family {family}, or none")
    name = str(activation).lower()
    if name not in ACTIVATIONS:
        raise _bad("activation", activation, f"one of {', '.join(ACTIVATIONS)}")
    if inputs not in ("bounded", "raw"):
        raise _bad("inputs", inputs, "'bounded' or 'raw'")
    if output not in ("raw", "lda_exchange"):
        raise _bad("output", output, "'raw' or 'lda_exchange'")
    if isinstance(hidden, (int, str)) or not all(
        isinstance(h, int) and not isinstance(h, bool) and h > 0 for h in hidden
    ):
        raise _bad("hidden", hidden, "a list of positive widths such as [16, 16]")
    if max_output is not None and not 0.0 < float(max_output) < float("inf"):
        raise _bad("max_output", max_output, "a positive number, or none")
    if ueg_exact and family == "lda":
        raise _bad("ueg_exact", ueg_exact, "False: an lda network is its uniform-gas value")
    dtype_name = str(dtype).removeprefix("torch.")
    if dtype_name not in DTYPES:
        raise _bad("dtype", dtype, "float64 or float32")
    return XCNetwork(
        family=family,
        hidden=hidden,
        activation=name,
        inputs=inputs,
        output=output,
        max_output=None if max_output is None else float(max_output),
        zero_last=bool(zero_last),
        ueg_exact=bool(ueg_exact),
        dtype=dtype_name,
        seed=seed,
    )


@unaffected
def deepchem_network(
    input_size: int = 2,
    hidden_size: int = 10,
    n_layers: int = 1,
    modeltype: int = 1,
    dtype: torch.dtype = torch.float64,
) -> nn.Sequential:
    """Build the network of DeepChem's ``XCModel``.

    Parameters
    ----------
    input_size, hidden_size, n_layers : int
        Inputs, width and number of hidden layers.
    modeltype : {1, 2}
        1: softplus after every hidden layer. 2: exp(x) - 1 after the last hidden layer instead.
    dtype : torch.dtype

    Raises
    ------
    FunctionalError
        If a size is not a positive integer or the type is neither 1 nor 2.

    Examples
    --------
    >>> deepchem_network(2, 4, 1, modeltype=2)
    Sequential(
      (0): Linear(in_features=2, out_features=4, bias=True)
      (1): ExpM1Activation()
      (2): Linear(in_features=4, out_features=1, bias=False)
    )
    """
    sizes = {"input_size": input_size, "hidden_size": hidden_size, "n_layers": n_layers}
    for field, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise _bad(field, size, "a positive whole number")
    if modeltype not in (1, 2):
        raise _bad("modeltype", modeltype, "1 or 2")
    layers: list[nn.Module] = []
    for i in range(n_layers):
        layers.append(nn.Linear(hidden_size if i else input_size, hidden_size))
        last = i == n_layers - 1
        layers.append(ExpM1Activation() if modeltype == 2 and last else nn.Softplus())
    layers.append(nn.Linear(hidden_size, 1, bias=False))
    return nn.Sequential(*layers).to(dtype)


def _bad(field: str, value: Any, remedy: str) -> FunctionalError:
    return FunctionalError(f"{value!r} is not a usable value", field=field, remedy=remedy)
