"""A contraction on matrices: what of a predicted matrix is fed back into its prediction."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from deepchem_dft.hamiltonian.elements import Elements
from deepchem_dft.hamiltonian.expansion import Parts
from deepchem_dft.hamiltonian.graph import Graph
from deepchem_dft.hamiltonian.interaction import Features
from deepchem_dft.hamiltonian.radial import envelope
from deepchem_dft.hamiltonian.so2 import Align, Channels, Mix

#: What `Feedback.context` returns: all that depends on weights or geometry, not on the state.
Context = dict[str, Tensor]


class Feedback(nn.Module):
    r"""An equivariant map of a matrix's components to components, with a bounded slope.

    Blocks of atoms and of pairs exchange messages once. Every step changes lengths by at most a
    factor of 1: rotations; matrices divided by a bound on their norm,
    :math:`\sqrt{\|W\|_1 \|W\|_\infty}`, where that exceeds 1; factors between 0 and 1; the
    saturation :math:`v / \sqrt{1 + |v|^2}`; sums over neighbours whose squared weights add up to 1;
    means of two. So for any weights the map is a contraction by ``bound``, and adding anything
    that does not depend on the matrix gives a map with exactly one fixed point.

    Parameters
    ----------
    elements : Elements
    channels : Channels
        Of the features that factors are made from.
    width : int
        True channels of the messages; a quarter as many pseudo channels.
    bound : float or None
        On the slope. None: weights are not held.
    cutoff : float
        Bohr.
    """

    l: Tensor
    same: Tensor

    def __init__(
        self, elements: Elements, channels: Channels, width: int, bound: float | None,
        cutoff: float,
    ) -> None:
        super().__init__()
        layout = elements.layout
        self._bound, self._cutoff, self._true = bound, cutoff, channels.true
        self._rows = layout.lmax + 1
        inner = Channels(width, max(width // 4, 1))
        self._size = inner.size
        self.into, self.out = nn.ModuleList(), nn.ModuleList()
        for group in range(len(elements.groups)):
            blocks, axial = elements.block_map(group), elements.is_pair(group)
            slots = Channels(blocks.n_true, blocks.slots - blocks.n_true)
            self.into.append(Mix(layout, slots, inner, axial))
            self.out.append(Mix(layout, inner, slots, axial))
        self.of_atoms = nn.ModuleList([Mix(layout, inner, inner) for _ in range(3)])
        self.of_pairs = nn.ModuleList([Mix(layout, inner, inner, True) for _ in range(2)])
        self.align = Align(layout, inner.true, inner.size)
        self.atom_gates = nn.Linear(channels.true, self._rows * inner.size)
        self.pair_gates = nn.Linear(self._rows * channels.true, self._rows * inner.size)
        self.register_buffer("l", layout.l, False)
        # Sums over the components of an l, as a matrix.
        self.register_buffer("same", (layout.l[:, None] == layout.l).double(), False)

    def context(self, features: Features, graph: Graph) -> Context:
        """Return what does not change while the fixed point is sought."""
        found = {name: self._held(mix) for name, mix in self._mixes(graph)}
        atoms, pairs = features.atoms[:, 0, :self._true], features.pairs[0]
        pairs = pairs.unflatten(1, (self._rows, -1))[:, :, :self._true].flatten(1)
        found["atoms"] = self._spread(self.atom_gates(atoms))
        found["pairs"] = self._spread(self.pair_gates(pairs))
        weight = envelope(graph.distance, self._cutoff)
        total = torch.zeros_like(features.atoms[:, 0, 0]).index_add(
            0, graph.first, weight.square()).clamp_min(1e-12).sqrt()
        found["first"] = (weight / total.index_select(0, graph.first))[:, None, None]
        found["second"] = (weight / total.index_select(0, graph.second))[:, None, None]
        return found

    def forward(self, parts: Parts, context: Context, graph: Graph) -> Parts:
        """Take components, in units of their size, to as many."""
        atoms: list[Tensor] = []
        pairs: list[Tensor] = []
        for group, part in parts.items():
            (pairs if graph.is_pair[group] else atoms).append(
                _mix(part, context[f"into{group}"]))
        a = self._saturate(torch.cat(atoms))
        p = self._saturate(torch.cat([*pairs, a.new_zeros(0, *a.shape[1:])]))

        ends = (_mix(a, context["atoms1"]).index_select(0, graph.first) * context["first"]
                + _mix(a, context["atoms2"]).index_select(0, graph.second) * context["second"])
        seen = self.align(torch.bmm(graph.frame, ends))
        sent = torch.bmm(graph.frame.mT, self.align.undo(_mix(p, context["pairs1"])))
        heard = torch.zeros_like(a).index_add(0, graph.first, sent * context["first"])
        a = self._saturate(0.5 * (_mix(a, context["atoms0"]) + heard) * context["atoms"])
        p = self._saturate((0.5 * _mix(p, context["pairs0"]) + 0.25 * seen) * context["pairs"])
        slope = 1.0 if self._bound is None else self._bound
        return {group: slope * _mix((p if graph.is_pair[group] else a)[span],
                                    context[f"out{group}"])
                for group, span in graph.spans.items()}

    def _mixes(self, graph: Graph) -> list[tuple[str, Mix]]:
        found = [(f"into{g}", self.into[g]) for g in graph.sizes]
        found += [(f"out{g}", self.out[g]) for g in graph.sizes]
        found += [(f"atoms{i}", self.of_atoms[i]) for i in range(3)]
        found += [(f"pairs{i}", self.of_pairs[i]) for i in range(2)]
        return cast(list[tuple[str, Mix]], found)

    def _held(self, mix: Mix) -> Tensor:
        """Return the weights of every component, held below norm 1."""
        weight = mix.weight * mix.mask
        if self._bound is not None:
            size = weight.abs()
            norm = (size.sum(1).amax(1) * size.sum(2).amax(1)).clamp_min(1e-12).sqrt()
            weight = weight / norm.clamp_min(1.0)[:, None, None]
        return weight.index_select(0, mix.index)

    def _spread(self, logits: Tensor) -> Tensor:
        gates = torch.sigmoid(logits).unflatten(1, (self._rows, self._size))
        return gates.index_select(1, self.l)

    def _saturate(self, features: Tensor) -> Tensor:
        square = torch.matmul(self.same, features.square())
        return features * torch.rsqrt(1.0 + square)


def _mix(features: Tensor, weight: Tensor) -> Tensor:
    return torch.bmm(features.transpose(0, 1), weight).transpose(0, 1)
