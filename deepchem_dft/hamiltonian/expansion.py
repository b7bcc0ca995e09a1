"""Matrices of molecules as components of blocks, in the frames of pairs, and back."""

from __future__ import annotations

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
