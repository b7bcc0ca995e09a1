"""Samples as a HamiltonianModel sees them: checked, completed, turned into graphs once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from math import isqrt
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from scipy.linalg import LinAlgError, eigh
from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.elements import Elements
from deepchem_dft.hamiltonian.graph import Graph, join, make_graph
from deepchem_dft.hamiltonian.network import HamiltonianNetwork
from deepchem_dft.hamiltonian.orbitals import orbital_layout
from deepchem_dft.hamiltonian.reference import Reference
from deepchem_dft.hamiltonian.sample import MATRICES, HamiltonianSample
from deepchem_dft.torchstate import unaffected
from deepchem_dft.xc.libxc import Libxc

#: What a network may be told of a molecule.
INPUTS = ("overlap", "core", "guess")
#: Bytes of graphs and matrices that are kept between epochs.
_MEMORY = 4 << 30
#: Samples that means and spreads are measured on, at most.
_MEASURED = 2000


@dataclass(eq=False)
class Known:
    """A sample with what is known of its orbitals.

    Attributes
    ----------
    sample : HamiltonianSample
        With overlap, core Hamiltonian and minao guess filled in where they are needed.
    name : str
        In messages.
    base : Tensor, shape (nao * nao,), float64
        What predictions are added to: the guess, or zeros. Hartree.
    label : Tensor or None, shape (nao * nao,), float64
        The Kohn-Sham matrix less the base.
    reference : Reference
        For what else depends on the molecule.
    """

    sample: HamiltonianSample
    name: str
    base: Tensor
    label: Tensor | None
    reference: Reference

    @property
    def nao(self) -> int:
        """Number of atomic orbitals."""
        return isqrt(len(self.base))

    @property
    def n_occupied(self) -> int:
        """Number of doubly occupied orbitals."""
        return self.reference.n_occupied

    @property
    def overlap(self) -> np.ndarray:
        """(nao, nao) overlap matrix."""
        stored = self.sample.overlap
        return self.reference.overlap if stored is None else stored

    @cached_property
    @unaffected
    def orthogonal(self) -> Tensor:
        """(nao, nao) float64, symmetric: the overlap matrix to the power -1/2."""
        values, vectors = np.linalg.eigh(self.overlap)
        if values[0] <= 0:
            raise InputError("the overlap matrix is not positive definite", entry=self.name, field="overlap")
        return torch.from_numpy((vectors * values**-0.5) @ vectors.T)

    @cached_property
    @unaffected
    def orbital_energies(self) -> Tensor:
        """(nao,) of the label, Hartree."""
        assert self.label is not None
        x = self.orthogonal
        return torch.linalg.eigvalsh(x @ (self.base + self.label).view_as(x) @ x)

    def solve(self, hamiltonian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (nao,) orbital energies, Hartree, and (nao, nao) orbitals in columns."""
        try:
            return eigh(hamiltonian, self.overlap)
        except LinAlgError:
            raise InputError(
                "the overlap matrix is not positive definite", entry=self.name, field="overlap"
            ) from None


@dataclass(eq=False)
class Prepared(Known):
    """A sample with all that is computed once for a network.

    Attributes
    ----------
    graph : Graph
    """

    graph: Graph

    @property
    def size(self) -> int:
        """Bytes."""
        tensors = [
            self.base,
            self.base,
            *(getattr(self.graph, f.name) for f in fields(Graph)),
            *self.graph.inputs.values(),
        ]
        return (
            sum(t.numel() * t.element_size() for t in tensors if isinstance(t, Tensor))
            + len(MATRICES) * self.base.numel() * 8
        )


class Preparation:
    """Turn samples into what the network needs, and remember them as long as they live.

    Parameters
    ----------
    network : HamiltonianNetwork
    xc : str
        Functional of the guess.
    guess : {"minao", "sap"}
    inputs : sequence of {"overlap", "core", "guess"}
    delta : bool
        Whether the guess is what predictions are added to.
    grid_level : int
        Quadrature of the guess.
    dtype : torch.dtype
        Of the graphs.
    """

    def __init__(
        self,
        network: HamiltonianNetwork,
        xc: str,
        guess: str,
        inputs: Sequence[str],
        delta: bool,
        grid_level: int,
        dtype: torch.dtype,
    ) -> None:
        self.network, self.elements = network, network.elements
        self.xc, self.guess, self.inputs = xc, guess, tuple(inputs)
        self.delta, self.grid_level, self.dtype = delta, grid_level, dtype
        self.forget()

    def __getstate__(self) -> dict[str, Any]:
        # What is remembered belongs to samples of this process.
        return {name: value for name, value in self.__dict__.items() if name not in ("_kept", "_left")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.forget()

    def forget(self) -> None:
        """Drop what is remembered, since means and spreads have changed."""
        self._kept: WeakKeyDictionary[HamiltonianSample, Prepared] = WeakKeyDictionary()
        self._left = _MEMORY

    def measure(self, samples: Iterable[tuple[HamiltonianSample, str]]) -> None:
        """Set the network's means and spreads from training data."""
        graphs, known, targets = [], [], []
        for sample, name in samples:
            if getattr(sample, "hamiltonian", ...) is None:
                continue
            graph, reference = self._begin(sample, name)
            graphs.append(graph)
            known.append(self._known(sample, graph, reference))
            label = torch.from_numpy(sample.hamiltonian).flatten() - self._base(sample, reference)
            targets.append(label[graph.place])
            if len(graphs) == _MEASURED:
                break
        if not graphs:
            raise InputError(
                "no sample has a Hamiltonian, and the network has never seen one",
                field="hamiltonian",
                remedy="begin with some samples that have, or a pretrained model",
            )
        self.network.fit(graphs, known, targets)
        self.forget()

    def __call__(self, sample: HamiltonianSample, name: str, label: bool = False) -> Prepared:
        """Prepare a sample; with ``label`` it must have a Hamiltonian.

        Raises
        ------
        InputError
            Naming the entry and what is wrong with it.
        """
        found = self._kept.get(sample)
        if found is None:
            found = self._prepare(sample, name)
            if found.size <= self._left:
                self._left -= found.size
                self._kept[sample] = found
        if label and found.label is None:
            raise InputError(
                "there is no Hamiltonian to learn from or compare with", entry=name, field="hamiltonian"
            )
        return found

    def _prepare(self, sample: HamiltonianSample, name: str) -> Prepared:
        graph, reference = self._begin(sample, name)
        self.network.inform(graph, self._known(sample, graph, reference))
        base, label = self._base(sample, reference), None
        if sample.hamiltonian is not None:
            label = torch.from_numpy(sample.hamiltonian).flatten() - base
        return Prepared(sample, name, base, label, reference, graph.to("cpu", self.dtype))

    def _begin(self, sample: Any, name: str) -> tuple[Graph, Reference]:
        check_sample(sample, name, self.elements.basis, self.xc)
        try:
            graph = make_graph(sample.numbers, sample.positions, self.elements, self.network.cutoff)
            reference = Reference(sample, self.xc, self.grid_level)
        except InputError as error:
            raise error.located(entry=name) from None
        nao = orbital_layout(sample.numbers, sample.basis).nao
        if sample.nao not in (0, nao):
            raise InputError(
                f"the matrices have {sample.nao} orbitals, {sample.basis} gives this molecule {nao}",
                entry=name,
                field="basis",
            )
        return graph, reference

    def _base(self, sample: HamiltonianSample, reference: Reference) -> Tensor:
        if not self.delta:
            nao = orbital_layout(sample.numbers, sample.basis).nao
            return torch.zeros(nao * nao, dtype=torch.float64)
        return torch.from_numpy(self.matrix("guess", sample, reference)).flatten()

    def _known(self, sample: HamiltonianSample, graph: Graph, reference: Reference) -> list[Tensor]:
        return [
            torch.from_numpy(self.matrix(name, sample, reference)).flatten()[graph.place]
            for name in self.inputs
        ]

    def matrix(self, name: str, sample: HamiltonianSample, reference: Reference) -> np.ndarray:
        """Return overlap, core Hamiltonian or guess of a sample, which keeps what it lacked."""
        if name == "guess" and self.guess != "minao":  # samples hold that of minao
            return reference.guess(self.guess)
        if getattr(sample, name) is None:
            setattr(sample, name, reference.guess() if name == "guess" else getattr(reference, name))
        return getattr(sample, name)


@dataclass
class Batch:
    """Molecules side by side, on one device.

    Attributes
    ----------
    samples : list of Prepared
    graph : Graph
    """

    samples: list[Prepared]
    graph: Graph

    @classmethod
    def of(cls, samples: list[Prepared], device: torch.device | str) -> "Batch":
        """Join graphs and move them."""
        graph = join([sample.graph for sample in samples])
        return cls(samples, graph.to(device, samples[0].graph.distance.dtype))

    def together(self, name: str) -> Tensor:
        """Return bases or labels (zeros where there are none), flat, one after the other."""
        values = [getattr(sample, name) for sample in self.samples]
        filled = [torch.zeros_like(s.base) if v is None else v for s, v in zip(self.samples, values)]
        return torch.cat(filled).to(self.graph.place.device)

    def matrices(self, elements: Tensor) -> list[Tensor]:
        """Return (nao, nao) Kohn-Sham matrices, Hartree, from what a network says of blocks."""
        whole = self.together("base").index_add(0, self.graph.place, elements)
        return [
            part.view(n, n) for n, part in zip(self.graph.nao, whole.split([n * n for n in self.graph.nao]))
        ]


@lru_cache(maxsize=64)
def same_functional(one: str, other: str) -> bool:
    """Return whether two names stand for one functional: their energies decide.

    Examples
    --------
    >>> same_functional("PBE", "gga_x_pbe,gga_c_pbe"), same_functional("pbe", "b3lyp")
    (True, False)
    """
    first, second = Libxc(one), Libxc(other)
    if first.code == second.code:
        return True
    if (first.family, first.exchange_terms) != (second.family, second.exchange_terms):
        return False
    rho = torch.tensor([[0.3, 0.1, 0.2, 0.05, 0.4], [0.2, -0.1, 0.1, 0.0, 0.3]], dtype=torch.float64)[
        :, : {"lda": 1, "gga": 4, "mgga": 5}[first.family], None
    ]
    return torch.allclose(first.energy_density(rho), second.energy_density(rho), rtol=1e-9)


def check_sample(sample: Any, name: str, basis: str, xc: str) -> None:
    """Refuse what is no sample, or of another basis or functional than a model's."""
    if not isinstance(sample, HamiltonianSample):
        raise InputError(
            f"a {type(sample).__name__} is no HamiltonianSample",
            entry=name,
            field="X",
            remedy="use load_hamiltonian, load_md17_hamiltonian or "
            "load_qh9, or make HamiltonianSample objects",
        )
    if sample.basis.lower() != basis.lower():
        raise InputError(
            f"the basis is {sample.basis}, that of the model is {basis}",
            entry=name,
            field="basis",
            remedy="make a model for this basis",
        )
    if sample.xc is not None and not same_functional(sample.xc, xc):
        raise InputError(
            f"the functional is {sample.xc}, that of the model is {xc}",
            entry=name,
            field="xc",
            remedy="make a model for this functional",
        )


def elements_of(samples: Iterable[HamiltonianSample], basis: str) -> Elements:
    """Return the elements that occur in samples."""
    return Elements.of((z for sample in samples for z in sample.numbers.tolist()), basis)
