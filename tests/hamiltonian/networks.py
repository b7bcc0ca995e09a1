"""Networks with random weights on molecules with matrices that take no self-consistent field."""

from dataclasses import replace

import numpy as np
import torch
from scipy.linalg import block_diag
from torch import Tensor, nn

from deepchem_dft.hamiltonian.elements import Elements
from deepchem_dft.hamiltonian.forms import EquilibriumHead, Search
from deepchem_dft.hamiltonian.graph import Graph, join, make_graph
from deepchem_dft.hamiltonian.network import HamiltonianNetwork
from deepchem_dft.hamiltonian.orbitals import orbital_layout
from deepchem_dft.hamiltonian.reference import Reference
from deepchem_dft.hamiltonian.sample import HamiltonianSample

from .harmonics import rotation

#: Bohr, none with a symmetry.
GEOMETRIES = {
    "water": ((8, 1, 1), [[0, 0.1, 0], [0.2, 1.4, 1.1], [0, -1.4, 1.2]]),
    "ammonia": ((7, 1, 1, 1), [[0, 0.1, 0.2], [1.8, 0, -0.5], [-0.9, 1.6, -0.4], [-0.8, -1.5, -0.6]]),
    "thiol": (
        (1, 6, 16, 1, 1, 1),
        [
            [3.2, 1.9, 0.2],
            [-1.2, 0, 0.1],
            [2.2, -0.1, 0],
            [-1.8, 1.9, 0],
            [-1.9, -1.0, 1.7],
            [-1.8, -0.9, -1.8],
        ],
    ),
    "helium": ((2,), [[0.3, 0.2, 0.1]]),
}
CUTOFF = 12.0


def sample(name: str, basis: str = "def2-svp") -> HamiltonianSample:
    """A molecule with overlap and core Hamiltonian; its "guess" is superposed potentials."""
    numbers, positions = GEOMETRIES[name]
    return complete(HamiltonianSample(numbers, positions, basis, name=name))


def complete(bare: HamiltonianSample) -> HamiltonianSample:
    """Return the same with its matrices at its positions."""
    reference = Reference(bare)
    return replace(bare, overlap=reference.overlap, core=reference.core, guess=reference.guess("sap"))


def moved(before: HamiltonianSample, positions: np.ndarray) -> HamiltonianSample:
    """Return a molecule elsewhere, with matrices from PySCF: nothing is turned by our own code."""
    return complete(HamiltonianSample(before.numbers, positions, before.basis, name=before.name))


def orbitals_turned(before: HamiltonianSample, turn: np.ndarray) -> np.ndarray:
    """(nao, nao) what a rotation or reflection does to orbitals, from textbook functions."""
    layout = orbital_layout(before.numbers, before.basis)
    return layout.md17.to_pyscf(block_diag(*(rotation(shell.momentum, turn) for shell in layout.shells)))


class Model(nn.Module):
    """A network, with feedback or without, whose weights are all random."""

    def __init__(
        self,
        samples: list[HamiltonianSample],
        dtype: torch.dtype = torch.float64,
        equilibrium: bool = False,
        seed: int = 0,
        tol: float = 1e-12,
        cutoff: float = CUTOFF,
        bound: float | None = 0.9,
    ) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.dtype = dtype
        numbers = {int(z) for one in samples for z in one.numbers}
        self.elements = Elements.of(numbers, samples[0].basis)
        self.network = HamiltonianNetwork(
            self.elements, 3, width=8, layers=2, hidden=16, cutoff=cutoff, dtype=dtype
        )
        self.head: EquilibriumHead | None = None
        if equilibrium:
            search = Search(tol=tol if dtype == torch.float64 else 1e-6, max_iter=200)
            self.head = EquilibriumHead(self.network, 8, bound, search).to(dtype)
            for mix in self.head.feedback.out:  # zero at first
                nn.init.normal_(mix.weight, std=0.5)
        graphs = [self.bare(one) for one in samples]
        # Weights that shrink with size, as differences to a guess do.
        targets = [elements(0.02 * one.guess, graph) for one, graph in zip(samples, graphs)]
        self.network.fit(graphs, [known(*pair) for pair in zip(samples, graphs)], targets)

    def bare(self, one: HamiltonianSample) -> Graph:
        """Return the geometry of a sample, in float64."""
        return make_graph(one.numbers, one.positions, self.elements, self.network.cutoff)

    def graph(self, one: HamiltonianSample) -> Graph:
        """Return all that the network sees of a sample."""
        graph = self.bare(one)
        self.network.inform(graph, known(one, graph))
        return graph.to("cpu", self.dtype)

    def forward(self, graph: Graph) -> Tensor:
        """Return elements of the blocks."""
        features = self.network.features(graph)
        parts = self.network.read(features, graph)
        if self.head is not None:
            parts, self.found = self.head(parts, features, graph)
        return self.network.blocks(parts, graph)

    def predict(self, *samples: HamiltonianSample) -> list[np.ndarray]:
        """Return (nao, nao) matrices of samples in one batch."""
        graph = join([self.graph(one) for one in samples])
        with torch.no_grad():
            found = self(graph)
        whole = torch.zeros(graph.n_elements, dtype=found.dtype)
        whole[graph.place] = found
        parts = whole.split([n * n for n in graph.nao])
        return [part.view(n, n).double().numpy() for part, n in zip(parts, graph.nao)]


def elements(matrix: np.ndarray, graph: Graph) -> Tensor:
    """Return elements of the blocks of a matrix."""
    return torch.from_numpy(matrix).flatten()[graph.place]


def known(one: HamiltonianSample, graph: Graph) -> list[Tensor]:
    """Return elements of the blocks of what is known of a sample."""
    return [elements(matrix, graph) for matrix in (one.overlap, one.core, one.guess)]
