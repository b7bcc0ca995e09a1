"""Neural functionals: a network of (n, xi[, s[, alpha]]) gives the energy per electron."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.binning import Histogram, merged
from deepchem_dft.xc.features import network_inputs
from deepchem_dft.xc.quadrature import Quadrature

#: What the network of each family is fed, in order.
INPUTS = {"lda": ("n", "xi"), "gga": ("n", "xi", "s"), "mgga": ("n", "xi", "s", "alpha")}
#: Width of a bin in log10(n), xi^2, s/(1+s) and alpha/(1+alpha). With centroids as
#: representatives the error is of second order: below 1e-6 Ha for networks of ordinary smoothness.
BIN_WIDTHS = (0.1, 0.02, 0.02, 0.02)


class NeuralXC(XCFunctional):
    r"""Base of the neural functionals: energy per volume = network(inputs) * n, as in DeepChem.

    Parameters
    ----------
    nnmodel : nn.Module
        Maps (G, number of inputs) to (G, 1), the energy per electron in Ha. Any float type: the
        inputs are cast to that of its parameters (unless it has a true attribute
        ``casts_inputs``) and the result back to that of the density. A true attribute
        ``even_in_xi`` promises that the network does not see the sign of xi and saves half of
        the evaluations.
    spin_symmetric : bool
        Average the network over xi and -xi, so that swapping alpha and beta changes nothing.
        False is DeepChem's raw form; such a functional is always run unrestricted.
    device : str or torch.device, optional
        Where the network goes; matrices of a field follow it. Default: it stays where it is.

    Raises
    ------
    FunctionalError
        If the network does not take the inputs of the family or does not return one value a point.
    """

    def __init__(
        self, nnmodel: nn.Module, spin_symmetric: bool = True, device: str | torch.device | None = None
    ) -> None:
        super().__init__()
        if not isinstance(nnmodel, nn.Module):
            raise FunctionalError(
                f"{type(nnmodel).__name__} is not a torch.nn.Module",
                field="nnmodel",
                remedy="pass a network such as nn.Sequential",
            )
        self.nnmodel = nnmodel if device is None else nnmodel.to(device)
        self.spin_symmetric = bool(spin_symmetric)
        self.probe()  # a wrong width is reported here, before any SCF

    def energy_density(self, rho: Tensor) -> Tensor:
        """Return the energy per volume (G,) in Ha/Bohr^3; see the base class for ``rho``.

        Points with less than 1e-12 electrons per Bohr^3 give exactly zero.
        """
        inputs, density = network_inputs(rho, self.family)
        return self._per_electron(inputs, rho.shape[0] == 2) * density

    def at_density(self, rho: Tensor, quadrature: Quadrature) -> Callable[[], Tensor]:
        """Return the energy of one density as a function of the parameters; see the base class."""
        inputs, density = network_inputs(rho.detach(), self.family)
        electrons = density * quadrature.weights
        present = electrons != 0.0
        inputs, electrons = inputs[:, present], electrons[present]
        polarised = rho.shape[0] == 2
        return lambda: (self._per_electron(inputs, polarised) * electrons).sum()

    def histograms(
        self, rho: Tensor, weights: Tensor, widths: Sequence[float] | None = None
    ) -> dict[str, Histogram]:
        """Merge points with nearly the same inputs, keeping the number of electrons.

        Parameters
        ----------
        rho, weights
            See the base class.
        widths : sequence of float, optional
            Default: :data:`BIN_WIDTHS`.

        Examples
        --------
        >>> rho = torch.rand(1, 1, 500, dtype=torch.float64) + 0.1
        >>> weights = torch.full((500,), 0.01, dtype=torch.float64)
        >>> few = NNLDA(nn.Linear(2, 1)).histograms(rho, weights)["density"]
        >>> few.points.shape[-1] < 20
        True
        >>> bool(torch.isclose(few.weights.sum(), (rho[0, 0] * weights).sum()))
        True
        """
        inputs, density = network_inputs(rho.detach(), self.family)
        electrons = density * weights
        keep = electrons.abs() > 1e-14
        inputs, electrons = inputs[:, keep], electrons[keep]
        n, xi, *more = inputs
        # the sign of xi is lost, as it is to a functional symmetric in spin
        xi2 = xi * xi if self.spin_symmetric else xi
        rows = [xi2, *(x / (1 + x) for x in more)]
        # Energies per electron go like n^(1/3), so that is what the mean has to keep.
        means = torch.stack([n ** (1.0 / 3.0), *rows])
        chosen = (BIN_WIDTHS if widths is None else tuple(widths))[: len(means)]
        few = merged(torch.stack([n.log10(), *rows]), means, electrons, chosen)
        root, spin, *more = few.points
        spin = spin.clamp(0, 1).sqrt() if self.spin_symmetric else spin.clamp(-1, 1)
        return {"density": Histogram(torch.stack([root**3, spin, *(x / (1 - x) for x in more)]), few.weights)}

    def on_histogram(self, name: str, points: Tensor) -> Tensor:
        """Return energies per electron (B,), Ha; see the base class."""
        return self._per_electron(points, polarised=True)

    def penalty(self, size: float, roughness: float) -> Tensor:
        """Return the network's own fine, if it has one; see ``XCNetwork.penalty``."""
        fine = getattr(self.nnmodel, "penalty", None)
        if fine is None:
            raise FunctionalError(
                f"{type(self.nnmodel).__name__} has no penalty",
                field="penalties",
                remedy="leave training.penalties out",
            )
        return fine(size, roughness)

    def _per_electron(self, inputs: Tensor, polarised: bool) -> Tensor:
        """Energy per electron (G,) of inputs (number of inputs, G)."""
        # a closed shell has xi = 0, where the average is the value itself
        if polarised and self.spin_symmetric and not getattr(self.nnmodel, "even_in_xi", False):
            signs = inputs.new_ones(len(inputs), 1)
            signs[1] = -1.0
            both = self._network(torch.cat([inputs, signs * inputs], 1).T)
            return 0.5 * (both[: inputs.shape[1]] + both[inputs.shape[1] :])
        return self._network(inputs.T)

    def _network(self, x: Tensor) -> Tensor:
        try:
            takes_any = getattr(self.nnmodel, "casts_inputs", False)
            out = self.nnmodel(x if takes_any else x.to(self._network_dtype(x)))
        except (RuntimeError, ValueError, IndexError):
            width, names = self._width_that_works(x), INPUTS[self.family]
            if width in (None, len(names)):
                raise  # the fault lies elsewhere
            raise FunctionalError(
                f"the network takes {width} inputs, but {type(self).__name__} gives it "
                f"{len(names)} ({', '.join(names)})",
                field="nnmodel",
                remedy=f"build it with input_size={len(names)}, or choose the functional family "
                "that fits it (lda 2, gga 3, mgga 4 inputs)",
            ) from None
        if not isinstance(out, Tensor) or out.numel() != len(x):
            shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise FunctionalError(
                f"the network returned {shape} for inputs of shape {tuple(x.shape)}",
                field="nnmodel",
                remedy=f"end it with one output: ({len(x)}, 1)",
            )
        return out.reshape(len(x)).to(x.dtype)

    def _network_dtype(self, x: Tensor) -> torch.dtype:
        for p in self.nnmodel.parameters():
            if p.is_floating_point():
                return p.dtype
        return x.dtype

    def probe(self) -> Tensor:
        """Evaluate the network on a few fixed points; shape (3,), without gradients."""
        parameter = next(self.nnmodel.parameters(), None)
        device = torch.device("cpu") if parameter is None else parameter.device
        x = torch.tensor(
            [[0.5, 0.5, 0.5, 0.5], [0.1, 0.0, 2.0, 0.1], [3.0, -1.0, 0.2, 4.0]],
            dtype=torch.float64,
            device=device,
        )[:, : len(INPUTS[self.family])]
        modes = [(m, m.training) for m in self.nnmodel.modules()]
        self.nnmodel.eval()  # a probe must not touch running statistics
        try:
            with torch.no_grad():
                return self._network(x)
        finally:
            for module, training in modes:
                module.training = training

    def _width_that_works(self, x: Tensor) -> int | None:
        for width in range(1, 9):
            trial = torch.full((2, width), 0.5, dtype=self._network_dtype(x), device=x.device)
            try:
                with torch.no_grad():
                    self.nnmodel(trial)
            except (RuntimeError, ValueError, IndexError):
                continue
            return width
        return None

    def extra_repr(self) -> str:
        return f"family={self.family}, spin_symmetric={self.spin_symmetric}"


class NNLDA(NeuralXC):
    """Neural LDA: the network sees (n, xi).

    ``n`` is the total density in 1/Bohr^3 and ``xi`` = (n_alpha - n_beta) / n.

    References
    ----------
    Kasim and Vinko, Phys. Rev. Lett. 127, 126403 (2021).

    Examples
    --------
    >>> xc = NNLDA(nn.Sequential(nn.Linear(2, 8), nn.Softplus(), nn.Linear(8, 1)))
    >>> xc(torch.rand(2, 1, 5, dtype=torch.float64)).shape
    torch.Size([5])
    """

    family = "lda"


class NNPBE(NeuralXC):
    """Neural GGA: the network sees (n, xi, s).

    ``s`` = |grad n| / (2 (3 pi^2)^(1/3) n^(4/3)), cut at 1000.

    Examples
    --------
    >>> NNPBE(nn.Linear(2, 1))
    Traceback (most recent call last):
    ...
    deepchem_dft.errors.FunctionalError: field 'nnmodel': the network takes 2 inputs, but NNPBE \
gives it 3 (n, xi, s). Remedy: build it with input_size=3, or choose the functional family that \
fits it (lda 2, gga 3, mgga 4 inputs).
    """

    family = "gga"


class NNMGGA(NeuralXC):
    """Neural meta-GGA: the network sees (n, xi, s, alpha).

    ``alpha`` = (tau - |grad n|^2 / 8n) / tau_UEG(n, xi), the iso-orbital indicator: 0 for one
    orbital, 1 for the uniform gas. Cut to [-0.05, 1e6]; rounding makes it slightly negative.

    Examples
    --------
    >>> xc = NNMGGA(nn.Linear(4, 1))
    >>> xc.family, xc.spin_symmetric
    ('mgga', True)
    """

    family = "mgga"


#: The neural functional of each family.
NEURAL: dict[str, type[NeuralXC]] = {"lda": NNLDA, "gga": NNPBE, "mgga": NNMGGA}
