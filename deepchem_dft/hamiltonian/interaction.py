"""One round of messages: pairs look at their atoms, atoms at their pairs."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deepchem_dft.hamiltonian.blocks import Components
from deepchem_dft.hamiltonian.graph import Graph
from deepchem_dft.hamiltonian.so2 import Align, Channels, Mix, SO2Linear, merge, split


@dataclass
class Features:
    """Features of a graph.

    Attributes
    ----------
    atoms : Tensor, shape (N, size, channels)
    pairs : list of Tensor
        In the frames of the pairs, aligned, apart by |m|: see `split`.
    invariants : Tensor, shape (E, n)
        What is known of each pair's elements and distance.
    back : Tensor, shape (E, size, size)
        Turns components out of the frame of a pair, times the weight of the pair's message.
    """

    atoms: Tensor
    pairs: list[Tensor]
    invariants: Tensor
    back: Tensor


class PairUpdate(nn.Module):
    """What changes in the features of a pair, given those of its two atoms.

    Both are mixed in the pair's frame, where everything with m = 0 is invariant: these numbers go
    through an ordinary network, which says how much of each feature is let through.

    Parameters
    ----------
    layout : Components
    channels : Channels
    n_invariants : int
        Of pairs.
    hidden : int
        Width of the ordinary network.
    """

    def __init__(self, layout: Components, channels: Channels, n_invariants: int, hidden: int) -> None:
        super().__init__()
        self._layout, self._channels = layout, channels
        rows = layout.lmax + 1
        self.ends = Mix(layout, channels, channels.times(2), gain=2**-0.5)
        self.align = Align(layout, channels.true, channels.size)
        self.mix_in = SO2Linear(layout, channels, channels, n_invariants)
        self.hidden = nn.Sequential(
            nn.Linear(rows * channels.true + n_invariants, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
        )
        self.gates = nn.Linear(hidden, rows * channels.size)
        self.mix_out = SO2Linear(layout, channels, channels, hidden)

    def forward(self, features: Features, graph: Graph) -> list[Tensor]:
        """Return the change of ``features.pairs``."""
        layout, channels = self._layout, self._channels
        first, second = self.ends(features.atoms).split(channels.size, 2)
        both = first.index_select(0, graph.first) + second.index_select(0, graph.second)
        turned = split(self.align(torch.bmm(graph.frame, both)), layout)
        mixed = self.mix_in([a + b for a, b in zip(turned, features.pairs)], features.invariants)
        zero = mixed[0].unflatten(1, (layout.lmax + 1, channels.size))
        invariants = zero[:, :, : channels.true].flatten(1)
        hidden = self.hidden(torch.cat([invariants, features.invariants], 1))
        return self.mix_out(mixed, hidden, self.gates(hidden))


class AtomUpdate(nn.Module):
    """What changes in the features of an atom, given the messages that reach it.

    Products of features make invariants, which go through an ordinary network.

    Parameters
    ----------
    layout, channels, hidden
        As for `PairUpdate`.
    """

    l: Tensor
    sums: Tensor
    scalar: Tensor

    def __init__(self, layout: Components, channels: Channels, hidden: int) -> None:
        super().__init__()
        self._channels = channels
        self.mix_in = Mix(layout, channels.times(2), channels.times(2))
        self.hidden = nn.Sequential(
            nn.Linear((layout.lmax + 1) * channels.size + channels.true, hidden), nn.SiLU()
        )
        self.gates = nn.Linear(hidden, (layout.lmax + 1) * channels.size)
        self.scalars = nn.Linear(hidden, channels.true)
        self.mix_out = Mix(layout, channels, channels)
        self.register_buffer("l", layout.l, False)
        sums = nn.functional.one_hot(layout.l).mT.to(torch.float64)
        self.register_buffer("sums", sums.contiguous(), False)
        self.register_buffer("scalar", sums[0, :, None].clone(), False)

    def forward(self, atoms: Tensor, messages: Tensor) -> Tensor:
        """Return the change of ``atoms``."""
        size, true = self._channels.size, self._channels.true
        a, b = self.mix_in(torch.cat([atoms, messages], 2)).split(size, 2)
        products = torch.matmul(self.sums, a * b)
        hidden = self.hidden(torch.cat([products.flatten(1), a[:, 0, :true]], 1))
        gates = self.gates(hidden).unflatten(1, (-1, size)).index_select(1, self.l)
        scalars = nn.functional.pad(self.scalars(hidden), (0, size - true))
        return self.mix_out(a * gates) + scalars[:, None] * self.scalar


class Interaction(nn.Module):
    """Update pairs by their atoms, then atoms by their pairs.

    Parameters
    ----------
    layout, channels, n_invariants, hidden
        As for `PairUpdate`.
    """

    def __init__(self, layout: Components, channels: Channels, n_invariants: int, hidden: int) -> None:
        super().__init__()
        self._layout = layout
        self.pairs = PairUpdate(layout, channels, n_invariants, hidden)
        self.atoms = AtomUpdate(layout, channels, hidden)

    def forward(self, features: Features, graph: Graph) -> Features:
        """Return new features."""
        change = self.pairs(features, graph)
        sent = torch.bmm(features.back, self.pairs.align.undo(merge(change, self._layout)))
        messages = torch.zeros_like(features.atoms).index_add(0, graph.first, sent)
        return Features(
            features.atoms + self.atoms(features.atoms, messages),
            [a + b for a, b in zip(features.pairs, change)],
            features.invariants,
            features.back,
        )
