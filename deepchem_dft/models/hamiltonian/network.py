"""The network of a HamiltonianModel in any of its forms; matrices are put together in float64."""

import copy

import torch
from torch import Tensor, nn

from deepchem_dft.equilibrium import Equilibrium
from deepchem_dft.hamiltonian.expansion import Expansion
from deepchem_dft.hamiltonian.forms import EquilibriumHead, Search
from deepchem_dft.hamiltonian.graph import Graph
from deepchem_dft.hamiltonian.network import HamiltonianNetwork


class HamiltonianModule(nn.Module):
    """From graphs to elements of Kohn-Sham matrices, or of their difference to a guess.

    The network may compute in float32: what it finds are multiples of the spread in the training
    data. Means and spreads are added and multiplied, and blocks put together, in float64.

    Parameters
    ----------
    network : HamiltonianNetwork
    width : int or None
        Channels of what is fed back; None: nothing is.
    bound : float or None
        On the slope of the feedback.
    search : Search
        How fixed points are found.
    """

    fitted: Tensor

    def __init__(
        self, network: HamiltonianNetwork, width: int | None, bound: float | None, search: Search
    ) -> None:
        super().__init__()
        dtype = network.norm.dtype
        self.network = network
        self.head = None if width is None else EquilibriumHead(network, width, bound, search).to(dtype)
        self.search, self.dtype = search, dtype
        self.assembly = Expansion(network.elements).double()
        self.network.target.double()
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    def forward(self, graph: Graph) -> tuple[Tensor, Equilibrium | None]:
        """Return elements of the blocks, shape (P,), float64, Hartree; and the fixed points."""
        features = self.network.features(graph)
        parts = self.network.read(features, graph)
        found = None
        if self.head is not None:
            parts, found = self.head(parts, features, graph)
        exact = copy.copy(graph)
        exact.frame = graph.frame.double()
        whole = {group: part.double() for group, part in parts.items()}
        elements = self.assembly.to_elements(exact, self.network.target.restore(graph, whole))
        return 0.5 * (elements + elements.index_select(0, graph.mirror)), found
