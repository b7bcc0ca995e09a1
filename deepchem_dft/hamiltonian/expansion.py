"""Matrices as components of blocks in the frames of pairs, and back; and components of a common size."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from deepchem_dft.hamiltonian.elements import Elements
from deepchem_dft.hamiltonian.graph import Graph
from deepchem_dft.hamiltonian.so2 import Align

#: For each group, components of its blocks: (n, size, slots), those of pairs aligned.
Parts = dict[int, Tensor]


class Expansion(nn.Module):
    """The orthogonal map between the blocks of molecules and components, for all groups.

    Parameters
    ----------
    elements : Elements

    Examples
    --------
    >>> import numpy as np
    >>> from deepchem_dft.hamiltonian.graph import make_graph
    >>> known = Elements((1, 8), "def2-svp")
    >>> water = np.array([[0, 0, 0], [0, 1.43, 1.1], [0, -1.43, 1.1]])
    >>> graph = make_graph(np.array([8, 1, 1]), water, known, 10.0)
    >>> matrix = torch.randn(24, 24, dtype=torch.float64)
    >>> expansion = Expansion(known).double()
    >>> parts = expansion.to_parts(graph, matrix.flatten()[graph.place])
    >>> parts[4].shape  # two pairs OH, lmax 4, 8 true slots and 2 pseudo
    torch.Size([2, 25, 10])
    >>> back = torch.zeros(24 * 24, dtype=torch.float64)
    >>> back[graph.place] = expansion.to_elements(graph, parts)
    >>> bool((back.view(24, 24) - matrix).abs().max() < 1e-13)
    True
    """

    def __init__(self, elements: Elements) -> None:
        super().__init__()
        self._shapes, aligns = [], []
        for number in range(len(elements.groups)):
            blocks = elements.block_map(number)
            self._shapes.append(blocks.matrix.shape[1:])
            # (size * slots, na * nb)
            self.register_buffer(f"matrix{number}", blocks.matrix.flatten(1).mT.contiguous(), False)
            aligns.append(Align(elements.layout, blocks.n_true, blocks.slots))
        self.aligns = nn.ModuleList(aligns)

    def to_parts(self, graph: Graph, elements: Tensor) -> Parts:
        """Take elements of the blocks, shape (P,), to components."""
        parts = {}
        for group, span in graph.spans.items():
            blocks = elements[graph.extents[group]].view(graph.sizes[group], -1)
            part = (blocks @ self.get_buffer(f"matrix{group}").mT).unflatten(1, self._shapes[group])
            if graph.is_pair[group]:
                part = self.aligns[group](torch.bmm(graph.frame[span], part))
            parts[group] = part
        return parts

    def to_elements(self, graph: Graph, parts: Parts) -> Tensor:
        """Take components to elements of the blocks, shape (P,)."""
        found = []
        for group, span in graph.spans.items():
            part = parts[group]
            if graph.is_pair[group]:
                align = cast(Align, self.aligns[group])
                part = torch.bmm(graph.frame[span].mT, align.undo(part))
            found.append((part.flatten(1) @ self.get_buffer(f"matrix{group}")).flatten())
        return torch.cat(found)


#: Slots that vary by less than this fraction of what they are, or a tenth of it of the largest slot
#: of their group, are not blown up further: there is nothing but rounding in some.
_FLOOR = 1e-3


class Standard(nn.Module):
    """Mean and size of every slot, for each element or pair of elements.

    Only invariants have a mean: l = 0 of atoms, m = 0 in the frames of pairs, of true slots. The
    size is one number for all components of an l, so that subtracting and dividing keeps every
    symmetry. Before `fit` it changes nothing.

    Parameters
    ----------
    elements : Elements
    """

    def __init__(self, elements: Elements) -> None:
        super().__init__()
        layout = elements.layout
        self._same_l = (layout.l[:, None] == layout.l).double()
        self._same_l /= self._same_l.sum(0)
        self._invariant: list[Tensor] = []
        for group in range(len(elements.groups)):
            blocks = elements.block_map(group)
            shape = elements.n_types(group), layout.size, blocks.slots
            self.register_buffer(f"mean{group}", torch.zeros(shape, dtype=torch.float64))
            self.register_buffer(f"size{group}", torch.ones(shape, dtype=torch.float64))
            free = (layout.m if elements.is_pair(group) else layout.l) == 0
            self._invariant.append(free[:, None] & (torch.arange(blocks.slots) < blocks.n_true))

    def fit(self, data: Iterable[tuple[Graph, Parts]]) -> None:
        """Measure means and sizes on data in float64."""
        total: dict[int, list[Tensor]] = {}
        for graph, parts in data:
            for group, part in parts.items():
                shape = self.get_buffer(f"mean{group}").shape
                count, first, second = total.setdefault(
                    group, [part.new_zeros(shape[0]), *part.new_zeros(2, *shape)]
                )
                types = graph.types(group)
                count.index_add_(0, types, torch.ones_like(types, dtype=part.dtype))
                first.index_add_(0, types, part)
                second.index_add_(0, types, part.square())
        for group, (count, first, second) in total.items():
            seen = count > 0
            number = count.clamp(min=1)[:, None, None]
            mean = first / number * self._invariant[group]
            square = second / number
            variance = (square - mean.square()).clamp(min=0)
            size, whole = (torch.einsum("kl,tls->tks", self._same_l, s).sqrt() for s in (variance, square))
            floor = torch.maximum(whole, 0.1 * whole.amax((1, 2), keepdim=True))
            size = torch.maximum(size, _FLOOR * floor)
            size = torch.where(size > 0, size, 1.0)
            if bool(seen.any()):  # elements that never met are taken for average ones
                size[~seen] = size[seen].mean(0)
            self.get_buffer(f"mean{group}").copy_(mean)
            self.get_buffer(f"size{group}").copy_(size)

    def normalise(self, graph: Graph, parts: Parts) -> Parts:
        """Subtract means and divide by sizes."""
        return {
            group: (part - self._of("mean", graph, group)) / self._of("size", graph, group)
            for group, part in parts.items()
        }

    def restore(self, graph: Graph, parts: Parts) -> Parts:
        """Undo `normalise`; blocks of pairs vanish at the cutoff."""
        found = {}
        for group, part in parts.items():
            part = torch.addcmul(self._of("mean", graph, group), part, self._of("size", graph, group))
            if graph.is_pair[group]:
                part = part * graph.weight[graph.spans[group], None, None]
            found[group] = part
        return found

    def _of(self, name: str, graph: Graph, group: int) -> Tensor:
        types = graph.types(group)  # on a CPU while molecules are prepared, wherever the rest is
        return self.get_buffer(f"{name}{group}").to(types.device).index_select(0, types)
