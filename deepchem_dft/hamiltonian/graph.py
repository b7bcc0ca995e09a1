"""Molecules as the network sees them: atoms, and pairs with frames of their own."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.elements import Elements
from deepchem_dft.hamiltonian.orbitals import orbital_layout
from deepchem_dft.hamiltonian.rotations import frames
from deepchem_dft.torchstate import unaffected


def envelope(distance: Tensor, cutoff: float) -> Tensor:
    """Fall smoothly from 1 to 0 at the cutoff, with two continuous derivatives.

    References
    ----------
    J. Gasteiger, J. Gross and S. Guennemann, Directional message passing for molecular graphs,
    ICLR (2020), with exponent 6.

    Examples
    --------
    >>> envelope(torch.tensor([0.0, 5.0, 10.0, 12.0]), 10.0)
    tensor([1.0000, 0.8555, 0.0000, 0.0000])
    """
    x = (distance / cutoff).clamp(max=1.0)
    return 1 - 28 * x**6 + 48 * x**7 - 21 * x**8


def radial_basis(distance: Tensor, cutoff: float, size: int) -> Tensor:
    """Return ``size`` spherical Bessel functions of order 0 that vanish at the cutoff.

    Examples
    --------
    >>> radial_basis(torch.tensor([2.0]), 10.0, 8).shape
    torch.Size([1, 8])
    """
    n = torch.arange(1, size + 1, device=distance.device, dtype=distance.dtype)
    waves = torch.sin(torch.pi * n * distance[:, None] / cutoff) / distance[:, None]
    return waves * envelope(distance, cutoff)[:, None] * (2 / cutoff) ** 0.5


#: Bohr. Data with atoms closer than this is broken.
_TOO_CLOSE = 0.05


@dataclass
class Graph:
    """One molecule or several: atoms sorted by kind, ordered pairs of atoms by both kinds.

    Elements of matrices are numbered in two ways: in the *matrices*, one after the other, row by
    row; and in the *blocks*, group by group (see `Elements`), which leaves out pairs beyond the
    cutoff.

    Attributes
    ----------
    nao : list of int
        Orbitals of each molecule.
    species : Tensor, shape (N,)
        Element of each atom, by its place in `Elements`.
    sample : Tensor, shape (N,)
        Molecule of each atom.
    first, second : Tensor, shape (E,)
        Atoms of each pair; its block has the orbitals of the first as rows.
    pair : Tensor, shape (E,)
        Elements of each pair, as one number.
    frame : Tensor, shape (E, size, size)
        Turns components so that the second atom lies on the z axis, seen from the first.
    distance : Tensor, shape (E,)
        Bohr.
    weight : Tensor, shape (E,)
        From 1 at no distance smoothly to 0 at the cutoff.
    sizes : dict
        Atoms or pairs in each group that occurs, in order.
    areas : dict
        Elements of one block of the group.
    place, turned : Tensor, shape (P,)
        Where each element of the blocks is in the matrices, and where its transpose is.
    inputs : dict
        For each group what is known of its blocks, as components (n, size, channels).
    """

    nao: list[int]
    species: Tensor
    sample: Tensor
    first: Tensor
    second: Tensor
    pair: Tensor
    frame: Tensor
    distance: Tensor
    weight: Tensor
    sizes: dict[int, int]
    areas: dict[int, int]
    place: Tensor
    turned: Tensor
    inputs: dict[int, Tensor] = field(default_factory=dict)

    @property
    def n_elements(self) -> int:
        """Elements of all matrices."""
        return sum(n * n for n in self.nao)

    @cached_property
    def is_pair(self) -> dict[int, bool]:
        """Whether each group is of pairs."""
        # Groups of atoms come first and hold every atom.
        found, left = {}, len(self.species)
        for group, size in self.sizes.items():
            found[group] = left == 0
            left -= size if left else 0
        return found

    @cached_property
    def spans(self) -> dict[int, slice]:
        """Where the atoms or pairs of each group are."""
        found, start = {}, {True: 0, False: 0}
        for group, size in self.sizes.items():
            kind = self.is_pair[group]
            found[group] = slice(start[kind], start[kind] + size)
            start[kind] += size
        return found

    @cached_property
    def extents(self) -> dict[int, slice]:
        """Where the elements of each group's blocks are among those of all blocks."""
        found, start = {}, 0
        for group, size in self.sizes.items():
            found[group] = slice(start, start + size * self.areas[group])
            start = found[group].stop
        return found

    @cached_property
    @unaffected
    def mirror(self) -> Tensor:
        """(P,) the element of the blocks that symmetry makes equal to each."""
        where = torch.empty(self.n_elements, dtype=torch.long, device=self.place.device)
        where[self.place] = torch.arange(len(self.place), device=self.place.device)
        return where[self.turned]

    @cached_property
    @unaffected
    def owner(self) -> Tensor:
        """(P,) the molecule of each element of the blocks."""
        sizes = torch.tensor([n * n for n in self.nao], device=self.place.device)
        return torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)[self.place]

    def types(self, group: int) -> Tensor:
        """Return the element, or the pair of elements, of each member of a group."""
        return (self.pair if self.is_pair[group] else self.species)[self.spans[group]]

    def samples(self, group: int) -> Tensor:
        """Return the molecule of each member of a group."""
        if not self.is_pair[group]:
            return self.sample[self.spans[group]]
        return self.sample[self.first[self.spans[group]]]

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Graph":
        """Return the same on a device, with floating-point numbers of a type."""

        def move(value):
            if isinstance(value, Tensor):
                return value.to(device, dtype if value.is_floating_point() else None)
            if isinstance(value, dict):
                return {key: move(item) for key, item in value.items()}
            return value

        return Graph(**{f.name: move(getattr(self, f.name)) for f in fields(self)})


def make_graph(numbers: np.ndarray, positions: np.ndarray, elements: Elements, cutoff: float) -> Graph:
    """Describe the geometry of a molecule, in float64.

    Parameters
    ----------
    numbers : np.ndarray, shape (N,)
        Nuclear charges.
    positions : np.ndarray, shape (N, 3)
        Bohr.
    elements : Elements
    cutoff : float
        Pairs that are further apart, in Bohr, have no blocks.

    Raises
    ------
    InputError
        If an element is unknown or two atoms coincide.

    Examples
    --------
    >>> known = Elements((1, 8), "def2-svp")
    >>> water = np.array([[0, 0, 0], [0, 1.43, 1.1], [0, -1.43, 1.1]])
    >>> graph = make_graph(np.array([8, 1, 1]), water, known, 10.0)
    >>> graph.species.tolist(), graph.sizes  # hydrogen first; pairs HH, HO, OH
    ([0, 0, 1], {0: 2, 1: 1, 2: 2, 3: 2, 4: 2})
    """
    layout = orbital_layout(numbers, elements.basis)
    species = elements.species(numbers)
    order = torch.argsort(elements.kind[species], stable=True)
    species = species[order]
    kind = elements.kind[species]
    x = torch.from_numpy(np.asarray(positions, dtype=np.float64))[order]
    distance = (x[:, None] - x).norm(dim=2).fill_diagonal_(torch.inf)
    if float(distance.min()) < _TOO_CLOSE:
        raise InputError("two atoms coincide", field="positions")
    first, second = (distance < cutoff).nonzero(as_tuple=True)
    n = len(elements.kinds)
    group = n + kind[first] * n + kind[second]
    by_group = torch.argsort(group, stable=True)
    first, second, group = first[by_group], second[by_group], group[by_group]

    distance = distance[first, second]
    start = torch.from_numpy(layout.starts[:-1])[order]
    sizes, areas, place, turned = {}, {}, [], []
    for number in range(len(elements.groups)):
        if elements.is_pair(number):
            members = group == number
            rows, columns = start[first[members]], start[second[members]]
        else:
            rows = columns = start[kind == number]
        if not len(rows):
            continue
        na, nb = elements.block_map(number).shape
        sizes[number], areas[number] = len(rows), na * nb
        i = rows[:, None, None] + torch.arange(na)[:, None]
        j = columns[:, None, None] + torch.arange(nb)
        place.append((i * layout.nao + j).flatten())
        turned.append((j * layout.nao + i).flatten())
    return Graph(
        [layout.nao],
        species,
        torch.zeros_like(species),
        first,
        second,
        species[first] * len(elements.numbers) + species[second],
        elements.layout.rotation(frames(x[second] - x[first])),
        distance,
        envelope(distance, cutoff),
        sizes,
        areas,
        torch.cat(place),
        torch.cat(turned),
    )


def join(graphs: Sequence[Graph]) -> Graph:
    """Put molecules side by side in one graph.

    Examples
    --------
    >>> known = Elements((1, 8), "def2-svp")
    >>> water = np.array([[0, 0, 0], [0, 1.43, 1.1], [0, -1.43, 1.1]])
    >>> graph = make_graph(np.array([8, 1, 1]), water, known, 10.0)
    >>> both = join([graph, graph])
    >>> both.species.tolist(), both.sample.tolist(), both.sizes[3]
    ([0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 0, 1], 4)
    """
    if len(graphs) == 1:
        return graphs[0]
    groups = sorted({group for graph in graphs for group in graph.sizes})
    areas = {group: area for graph in graphs for group, area in graph.areas.items()}
    atoms, pairs = _order(graphs, False), _order(graphs, True)
    counts = torch.tensor([len(graph.species) for graph in graphs])
    offsets = counts.cumsum(0) - counts
    where = torch.empty_like(atoms)
    where[atoms] = torch.arange(len(atoms))

    def ends(name: str) -> Tensor:
        numbered = [getattr(graph, name) + offset for graph, offset in zip(graphs, offsets)]
        return where[torch.cat(numbered)[pairs]]

    def of_pairs(name: str) -> Tensor:
        return torch.cat([getattr(graph, name) for graph in graphs]).index_select(0, pairs)

    starts = np.cumsum([0, *(graph.n_elements for graph in graphs)])
    place, turned, inputs = [], [], {}
    for group in groups:
        there = [(graph, start) for graph, start in zip(graphs, starts) if group in graph.sizes]
        place += [graph.place[graph.extents[group]] + start for graph, start in there]
        turned += [graph.turned[graph.extents[group]] + start for graph, start in there]
        known = [graph.inputs[group] for graph, _ in there if group in graph.inputs]
        if known:
            inputs[group] = torch.cat(known)
    return Graph(
        [n for graph in graphs for n in graph.nao],
        torch.cat([graph.species for graph in graphs])[atoms],
        torch.repeat_interleave(torch.arange(len(graphs)), counts)[atoms],
        ends("first"),
        ends("second"),
        of_pairs("pair"),
        of_pairs("frame"),
        of_pairs("distance"),
        of_pairs("weight"),
        {group: sum(graph.sizes.get(group, 0) for graph in graphs) for group in groups},
        {group: areas[group] for group in groups},
        torch.cat(place),
        torch.cat(turned),
        inputs,
    )


def _order(graphs: Sequence[Graph], pairs: bool) -> Tensor:
    """Return atoms or pairs of all graphs by group, then graph."""
    keys = [
        np.full(size, group)
        for graph in graphs
        for group, size in graph.sizes.items()
        if graph.is_pair[group] == pairs
    ]
    return torch.from_numpy(np.argsort(np.concatenate([*keys, []]), kind="stable"))
