"""The equivariant network: from what is cheap to know of a molecule to its Kohn-Sham matrix."""

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from deepchem_dft.hamiltonian.elements import Elements
from deepchem_dft.hamiltonian.expansion import Expansion, Parts, Standard
from deepchem_dft.hamiltonian.graph import Graph, radial_basis
from deepchem_dft.hamiltonian.interaction import Features, Interaction, PairUpdate
from deepchem_dft.hamiltonian.so2 import Channels, Mix, merge, split

#: Components of inputs, root mean square over those of one l, in units of their size in training
#: data, where they reach 3 to 6.
_LONGEST = 6.0


class HamiltonianNetwork(nn.Module):
    """Predict blocks of a matrix from the geometry and from blocks of matrices that are known.

    Every symmetry is exact: rotation, inversion, translation, order of the atoms.

    Parameters
    ----------
    elements : Elements
    n_matrices : int
        Known matrices, which must be given in the same order always.
    width : int
        True channels; a quarter as many pseudo channels come on top.
    layers : int
        Rounds of messages.
    hidden : int
        Width of the networks of invariants.
    cutoff : float
        Bohr.
    n_radial : int
        Radial functions.
    dtype : torch.dtype
    """

    norm: Tensor

    def __init__(
        self,
        elements: Elements,
        n_matrices: int = 3,
        *,
        width: int = 24,
        layers: int = 1,
        hidden: int = 96,
        cutoff: float = 15.0,
        n_radial: int = 16,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.elements, self.cutoff = elements, cutoff
        self._layout = layout = elements.layout
        self._n_radial = n_radial
        self.channels = channels = Channels(width, max(width // 4, 1))
        n_invariants = width
        n = len(elements.numbers)
        self.expansion = Expansion(elements)
        self.known = nn.ModuleList([Standard(elements) for _ in range(n_matrices)])
        self.target = Standard(elements)
        self.register_buffer("norm", torch.ones(()))
        self.of_element = nn.Embedding(n, width)
        self.of_pair = nn.Embedding(n * n, n_invariants)
        self.of_distance = nn.Linear(n_radial, n_invariants)
        self.invariants = nn.Sequential(nn.Linear(n_invariants, n_invariants), nn.SiLU())
        self.sources, self.readouts = nn.ModuleList(), nn.ModuleList()
        for group in range(len(elements.groups)):
            blocks, axial = elements.block_map(group), elements.is_pair(group)
            slots = Channels(blocks.n_true, blocks.slots - blocks.n_true)
            self.sources.append(Mix(layout, slots.times(n_matrices), channels, axial, gain=n_matrices**-0.5))
            self.readouts.append(Mix(layout, channels, slots, axial))
        #: Arguments of `PairUpdate`.
        self.size = size = (layout, channels, n_invariants, hidden)
        self.layers = nn.ModuleList([Interaction(*size) for _ in range(layers)])
        self.last = PairUpdate(*size)
        # Constants are exact until here; a later change of type would keep their rounding.
        self.to(dtype)

    # -- what is computed once for a molecule --------------------------------------------------

    def fit(
        self, graphs: Sequence[Graph], known: Sequence[Sequence[Tensor]], targets: Iterable[Tensor]
    ) -> None:
        """Measure the size of known matrices and of the target on training data.

        Parameters
        ----------
        graphs : sequence of Graph
            In float64.
        known : sequence of sequence of Tensor, shape (P,)
            For each molecule, elements of the blocks of its known matrices.
        targets : iterable of Tensor, shape (P,)
        """
        expansion = Expansion(self.elements).double()
        for number, standard in enumerate(self._standards()):
            standard.fit((g, expansion.to_parts(g, m[number])) for g, m in zip(graphs, known))
        self.target.fit((g, expansion.to_parts(g, t)) for g, t in zip(graphs, targets))
        weights = sum(float(g.weight.square().sum()) for g in graphs)
        self.norm.fill_(max(weights / sum(len(g.species) for g in graphs), 1e-6) ** -0.5)

    def inform(self, graph: Graph, known: Sequence[Tensor]) -> None:
        """Put known matrices, elements of the blocks (P,) in float64, into the graph's inputs."""
        expansion = Expansion(self.elements).double()
        parts = [
            self._saturate(standard.normalise(graph, expansion.to_parts(graph, matrix)))
            for standard, matrix in zip(self._standards(), known)
        ]
        graph.inputs = {g: torch.cat([p[g] for p in parts], 2) for g in parts[0]}

    def _saturate(self, parts: Parts) -> Parts:
        """Shorten what is much longer than in the training data, which no layer is prepared for.

        Without this, a pair of elements at a distance that was never met is off by many powers of
        ten: inputs of 100 go through products, layer after layer.
        """
        same = (self._layout.l[:, None] == self._layout.l).double()
        same /= same.sum(1, keepdim=True)
        return {
            group: part * (1.0 + (same @ part.square() / _LONGEST**2) ** 4) ** -0.125
            for group, part in parts.items()
        }

    def _standards(self) -> list[Standard]:
        return cast(list[Standard], list(self.known))

    # -- the network proper ----------------------------------------------------------------------

    def features(self, graph: Graph) -> Features:
        """Return features of atoms and pairs."""
        radial = radial_basis(graph.distance, self.cutoff, self._n_radial)
        invariants = self.invariants(self.of_distance(radial) + self.of_pair(graph.pair))
        atoms: list[Tensor] = []
        pairs: list[Tensor] = []
        for group in graph.sizes:
            (pairs if graph.is_pair[group] else atoms).append(self.sources[group](graph.inputs[group]))
        own = nn.functional.pad(self.of_element(graph.species), (0, self.channels.pseudo))
        own = nn.functional.pad(own[:, None], (0, 0, 0, self._layout.size - 1))
        nothing = own.new_zeros(0, *own.shape[1:])  # a single atom has no pairs
        features = Features(
            torch.cat(atoms) + own,
            split(torch.cat([*pairs, nothing]), self._layout),
            invariants,
            graph.frame.mT * (graph.weight * self.norm)[:, None, None],
        )
        for layer in self.layers:
            features = layer(features, graph)
        change = self.last(features, graph)
        features.pairs = [a + b for a, b in zip(features.pairs, change)]
        return features

    def read(self, features: Features, graph: Graph) -> Parts:
        """Return components of the target, in units of their size in the training data."""
        pairs = merge(features.pairs, self._layout)
        return {
            group: self.readouts[group]((pairs if graph.is_pair[group] else features.atoms)[span])
            for group, span in graph.spans.items()
        }

    def blocks(self, parts: Parts, graph: Graph) -> Tensor:
        """Return elements of the blocks, shape (P,), symmetric."""
        found = self.expansion.to_elements(graph, self.target.restore(graph, parts))
        return 0.5 * (found + found.index_select(0, graph.mirror))

    def forward(self, graph: Graph) -> Tensor:
        """Return elements of the blocks, shape (P,)."""
        return self.blocks(self.read(self.features(graph), graph), graph)
