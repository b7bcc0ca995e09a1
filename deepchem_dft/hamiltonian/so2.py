"""Linear maps of features that keep every symmetry: of all space, and of the axis of a pair.

Features have shape (rows, components, channels). The first channels are "true", the others
"pseudo" (see `BlockMap`). In the frame of a pair what remains is rotation about its axis and
reflection in planes through it. Components m and -m are the real and imaginary part of a number
that rotation about the axis turns by m times the angle. Reflection conjugates it for a true
channel, and conjugates and negates it for a pseudo one; multiplied by i (*aligned*), the latter
behaves like the former, and any real matrix may mix all of them. Only for m = 0 sorts stay apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deepchem_dft.hamiltonian.blocks import Components


@dataclass(frozen=True)
class Channels:
    """How many channels features have, true ones first; ``repeat`` times over."""

    true: int
    pseudo: int
    repeat: int = 1

    @property
    def size(self) -> int:
        """Number of channels."""
        return (self.true + self.pseudo) * self.repeat

    @property
    def is_true(self) -> Tensor:
        """Sort of each channel, shape (size,)."""
        once = torch.arange(self.true + self.pseudo) < self.true
        return once.repeat(self.repeat)

    def times(self, repeat: int) -> "Channels":
        """Return as many channels several times over."""
        return Channels(self.true, self.pseudo, repeat)


class Align(nn.Module):
    """Multiply the pseudo channels of features in the frames of pairs by i.

    Parameters
    ----------
    layout : Components
    true, size : int
        True channels, and all.
    """

    opposite: Tensor
    sign: Tensor

    back: Tensor

    def __init__(self, layout: Components, true: int, size: int) -> None:
        super().__init__()
        self._split = [true, size - true]
        self.register_buffer("opposite", layout.opposite, False)
        sign = torch.where(layout.m == 0, 1, -torch.sign(layout.m))
        self.register_buffer("sign", sign[:, None].to(torch.float64), False)
        back = torch.where(layout.m == 0, 1, torch.sign(layout.m))
        self.register_buffer("back", back[:, None].to(torch.float64), False)

    def forward(self, features: Tensor) -> Tensor:
        """Take (E, size, channels) to the same shape."""
        return self._turn(features, self.sign)

    def undo(self, features: Tensor) -> Tensor:
        """Multiply by -i instead."""
        return self._turn(features, self.back)

    def _turn(self, features: Tensor, sign: Tensor) -> Tensor:
        if not self._split[1]:
            return features
        true, pseudo = features.split(self._split, 2)
        return torch.cat([true, pseudo.index_select(1, self.opposite) * sign], 2)


class Mix(nn.Module):
    """Mix channels of one sort, with other weights for every l, or for every l and |m|.

    Parameters
    ----------
    layout : Components
    source, target : Channels
    axial : bool
        Features are in the frames of pairs: weights depend on l and |m|.
    gain : float
        Size of the result at first, for features of size 1.
    """

    index: Tensor
    mask: Tensor

    def __init__(
        self, layout: Components, source: Channels, target: Channels, axial: bool = False, gain: float = 1.0
    ) -> None:
        super().__init__()
        keys = [(l, abs(m) if axial else 0) for l, m in layout.pairs]
        unique = list(dict.fromkeys(keys))
        self.register_buffer("index", torch.tensor([unique.index(k) for k in keys]), False)
        mask = (source.is_true[:, None] == target.is_true).to(torch.float64)
        self.register_buffer("mask", mask, False)
        start = torch.randn(len(unique), *mask.shape)
        self.weight = nn.Parameter(gain * start * mask / mask.sum(0).clamp(min=1) ** 0.5)

    def forward(self, features: Tensor) -> Tensor:
        """Take (rows, size, channels) to (rows, size, channels)."""
        return torch.bmm(features.transpose(0, 1), self.weights()).transpose(0, 1)

    def weights(self) -> Tensor:
        """Return the matrix of every component, shape (size, channels, channels)."""
        return (self.weight * self.mask).index_select(0, self.index)


class SO2Linear(nn.Module):
    """Mix channels and angular momenta of features in the frames of pairs, for each |m|.

    Takes and returns what `split` makes.

    Parameters
    ----------
    layout : Components
    source, target : Channels
    n_invariants : int
        Invariants that join in.

    References
    ----------
    S. Passaro and C. L. Zitnick, Reducing SO(3) convolutions to SO(2) for efficient equivariant
    GNNs, ICML 202, 27420 (2023).
    """

    mask: Tensor

    def __init__(self, layout: Components, source: Channels, target: Channels, n_invariants: int = 0) -> None:
        super().__init__()
        rows = layout.lmax + 1
        into = target.is_true.repeat(rows)
        mask = torch.cat([source.is_true.repeat(rows)[:, None] == into, into.expand(n_invariants, -1)]).to(
            torch.float64
        )
        self.register_buffer("mask", mask, False)
        self.weights = nn.ParameterList([torch.randn(mask.shape) * mask / mask.sum(0).clamp(min=1) ** 0.5])
        for m in range(1, rows):
            n = (rows - m) * source.size
            self.weights.append(torch.randn(n, (rows - m) * target.size) / n**0.5)
        self._n_source = source.size

    def forward(
        self, parts: Sequence[Tensor], invariants: Tensor | None = None, gates: Tensor | None = None
    ) -> list[Tensor]:
        """Mix features.

        Parameters
        ----------
        parts : sequence of Tensor
            Aligned.
        invariants : Tensor, shape (E, n_invariants), optional
        gates : Tensor, shape (E, (lmax + 1) * channels), optional
            Factors for every l and channel, applied first.
        """
        zero = parts[0] if gates is None else parts[0] * gates
        if invariants is not None:
            zero = torch.cat([zero, invariants], 1)
        found = [zero @ (self.weights[0] * self.mask)]
        for m, part in enumerate(parts[1:], start=1):
            if gates is not None:
                part = part * gates[:, None, m * self._n_source :]
            found.append(part @ self.weights[m])
        return found


def split(features: Tensor, layout: Components) -> list[Tensor]:
    """Take features (E, size, channels) apart by |m|.

    Returns
    -------
    list of Tensor
        For m = 0, shape (E, (lmax + 1) * channels); for others (E, 2, (lmax + 1 - m) * channels).
    """
    rows = layout.lmax + 1
    sizes = [rows] + [2 * (rows - m) for m in range(1, rows)]
    zero, *others = features.split(sizes, 1)
    return [zero.flatten(1), *(part.unflatten(1, (2, -1)).flatten(2) for part in others)]


def merge(parts: Sequence[Tensor], layout: Components) -> Tensor:
    """Undo `split`."""
    rows = layout.lmax + 1
    channels = parts[0].shape[1] // rows
    sizes = [rows] + [2 * (rows - m) for m in range(1, rows)]  # -1 is ambiguous without any row
    return torch.cat([part.reshape(len(part), size, channels) for part, size in zip(parts, sizes)], 1)
