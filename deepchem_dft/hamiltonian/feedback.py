"""A contraction on matrices: what of a predicted matrix is fed back into its prediction."""

from typing import cast

import torch
from torch import Tensor, nn

from deepchem_dft.hamiltonian.blocks import Components
from deepchem_dft.hamiltonian.elements import Elements
from deepchem_dft.hamiltonian.expansion import Parts
from deepchem_dft.hamiltonian.graph import Graph
from deepchem_dft.hamiltonian.interaction import Features
from deepchem_dft.hamiltonian.so2 import Align, Channels, Mix, SO2Linear, merge

#: What `Feedback.context` returns: all that depends on weights or geometry, not on the state.
Context = dict[str, Tensor]


class Feedback(nn.Module):
    r"""An equivariant map of a matrix's components to components, with a bounded slope.

    Blocks of atoms and of pairs, saturated and joined by features of the geometry, exchange
    messages once. What depends on the geometry alone may have any size. The matrix meets linear
    maps, whose norms are bounded from above (`norm_bound`) and multiplied, and steps that change
    distances by at most a factor of 1: rotations, factors between 0 and 1, the saturation
    :math:`v / \sqrt{1 + |v|^2}`, sums over neighbours whose squared weights add up to less than 1.
    The matrix is divided by the product of norms where that exceeds 1, and multiplied by ``bound``.
    So for any weights the map is a contraction by ``bound``, and adding anything that does not
    depend on the matrix gives a map with exactly one fixed point.

    At first the result is zero: training starts from the network without feedback.

    Parameters
    ----------
    elements : Elements
    size : tuple
        Of the network whose features join in; arguments of `PairUpdate`.
    width : int
        True channels of the messages; a quarter as many pseudo channels.
    bound : float or None
        On the slope. None: the slope is not held.
    """

    l: Tensor
    same: Tensor

    def __init__(
        self, elements: Elements, size: tuple[Components, Channels, int, int], width: int, bound: float | None
    ) -> None:
        super().__init__()
        layout, channels, _, hidden = size
        self._layout = layout
        self._bound, self._true = bound, channels.true
        self._rows = layout.lmax + 1
        inner = Channels(width, max(width // 4, 1))
        self._size = inner.size
        self.into, self.out = nn.ModuleList(), nn.ModuleList()
        for group in range(len(elements.groups)):
            blocks, axial = elements.block_map(group), elements.is_pair(group)
            slots = Channels(blocks.n_true, blocks.slots - blocks.n_true)
            self.into.append(Mix(layout, slots, inner, axial))
            self.out.append(Mix(layout, inner, slots, axial, gain=0.0))
        self.drive_atoms = Mix(layout, channels, inner)
        self.drive_pairs = SO2Linear(layout, channels, inner)
        self.of_atoms = nn.ModuleList([Mix(layout, inner, inner) for _ in range(3)])
        self.of_pairs = nn.ModuleList([Mix(layout, inner, inner, True) for _ in range(2)])
        self.align = Align(layout, inner.true, inner.size)
        self.atom_gates = _gates(channels.true, hidden, self._rows * inner.size)
        self.pair_gates = _gates(self._rows * channels.true, hidden, self._rows * inner.size)
        self.register_buffer("l", layout.l, False)
        # Sums over the components of an l, as a matrix.
        self.register_buffer("same", (layout.l[:, None] == layout.l).double(), False)

    def context(self, features: Features, graph: Graph) -> Context:
        """Return what does not change while the fixed point is sought."""
        mixes = self._mixes()
        found = {name: mix.weights() for name, mix in mixes.items()}
        scale = self._scale(mixes)
        for group in graph.sizes:
            found[f"into{group}"] = found[f"into{group}"] * scale
        found["drive_atoms"] = self.drive_atoms(features.atoms)
        found["drive_pairs"] = merge(self.drive_pairs(features.pairs), self._layout)
        atoms, pairs = features.atoms[:, 0, : self._true], features.pairs[0]
        pairs = pairs.unflatten(1, (self._rows, -1))[:, :, : self._true].flatten(1)
        found["atoms"] = self._spread(self.atom_gates(atoms))
        found["pairs"] = self._spread(self.pair_gates(pairs))
        total = (
            torch.ones_like(features.atoms[:, 0, 0]).index_add(0, graph.first, graph.weight.square()).sqrt()
        )
        for end in ("first", "second"):
            share = graph.weight / total.index_select(0, getattr(graph, end))
            found[end] = share[:, None, None]
        return found

    def forward(self, parts: Parts, context: Context, graph: Graph) -> Parts:
        """Take components, in units of their size, to as many."""
        atoms: list[Tensor] = []
        pairs: list[Tensor] = []
        for group, part in parts.items():
            (pairs if graph.is_pair[group] else atoms).append(_mix(part, context[f"into{group}"]))
        a = torch.cat(atoms)
        p = torch.cat([*pairs, a.new_zeros(0, *a.shape[1:])])
        a = self._saturate(a) + context["drive_atoms"]
        p = self._saturate(p) + context["drive_pairs"]

        ends = (
            _mix(a, context["atoms1"]).index_select(0, graph.first) * context["first"]
            + _mix(a, context["atoms2"]).index_select(0, graph.second) * context["second"]
        )
        seen = self.align(torch.bmm(graph.frame, ends))
        sent = torch.bmm(graph.frame.mT, self.align.undo(_mix(p, context["pairs1"])))
        heard = torch.zeros_like(a).index_add(0, graph.first, sent * context["first"])
        a = (_mix(a, context["atoms0"]) + heard) * context["atoms"]
        p = (_mix(p, context["pairs0"]) + seen) * context["pairs"]
        return {
            group: _mix((p if graph.is_pair[group] else a)[span], context[f"out{group}"])
            for group, span in graph.spans.items()
        }

    def _mixes(self) -> dict[str, Mix]:
        # Of all groups: the slope must not depend on what else is in the batch.
        found: dict[str, nn.Module] = {}
        for name, mixes in (
            ("into", self.into),
            ("out", self.out),
            ("atoms", self.of_atoms),
            ("pairs", self.of_pairs),
        ):
            found |= {f"{name}{i}": mix for i, mix in enumerate(mixes)}
        return cast(dict[str, Mix], found)

    def _scale(self, mixes: dict[str, Mix]) -> Tensor | float:
        """Return what the matrix is multiplied by for the slope to stay below the bound."""
        if self._bound is None:
            return 1.0
        norm = {name: norm_bound(mix.weight * mix.mask).amax() for name, mix in mixes.items()}
        ends = [
            torch.stack([n for name, n in norm.items() if name.startswith(end)]).amax()
            for end in ("into", "out")
        ]
        # From (atoms, pairs) to (atoms, pairs): the norm of a matrix of norms.
        middle = torch.stack(
            [norm["atoms0"], norm["pairs1"], norm["atoms1"] + norm["atoms2"], norm["pairs0"]]
        ).view(1, 2, 2)
        return self._bound / (ends[0] * norm_bound(middle)[0] * ends[1]).clamp_min(1.0)

    def _spread(self, logits: Tensor) -> Tensor:
        gates = torch.sigmoid(logits).unflatten(1, (self._rows, self._size))
        return gates.index_select(1, self.l)

    def _saturate(self, features: Tensor) -> Tensor:
        square = torch.matmul(self.same, features.square())
        return features * torch.rsqrt(1.0 + square)


def norm_bound(matrices: Tensor) -> Tensor:
    r"""Return a bound from above on the largest singular value of matrices, nearly tight.

    :math:`(\sum_i \sigma_i^{16})^{1/16}`, from products of matrices alone.

    Examples
    --------
    >>> matrix = torch.randn(1, 20, 30, generator=torch.Generator().manual_seed(0)).double()
    >>> excess = norm_bound(matrix) / torch.linalg.matrix_norm(matrix, 2)
    >>> bool((excess > 1.0) & (excess < 1.15))
    True
    """
    size = matrices.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]
    power = matrices / size
    power = power.mT @ power if power.shape[1] > power.shape[2] else power @ power.mT
    for _ in range(2):
        power = power @ power
    return power.flatten(1).norm(dim=1).clamp_min(1e-30) ** 0.125 * size.flatten()


def _gates(n_in: int, hidden: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, hidden), nn.SiLU(), nn.Linear(hidden, n_out))


def _mix(features: Tensor, weight: Tensor) -> Tensor:
    return torch.bmm(features.transpose(0, 1), weight).transpose(0, 1)
