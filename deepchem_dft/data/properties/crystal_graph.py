"""Crystals as graphs: periodic neighbours, elements one by one, distances in Gaussians."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from deepchem.feat import Featurizer
from deepchem.feat.graph_data import GraphData

from deepchem_dft.data.featurizer import object_array
from deepchem_dft.data.properties.atoms import neighbours
from deepchem_dft.data.properties.records import Crystal
from deepchem_dft.errors import InputError

#: Heaviest element of the one-hot node features: lawrencium.
MAX_CHARGE = 103
#: Neighbours whose distances differ by less belong to one shell (Angstrom).
SHELL = 0.01
_COINCIDENT = 0.1


class CrystalGraphFeaturizer(Featurizer):
    """Turn crystals into the graphs of crystal-graph networks.

    Each atom is linked to its nearest neighbours, images in other cells included. The last shell is
    taken whole, so that the graph does not depend on the order of the atoms or the choice of the
    cell, as it does where a shell is cut after a fixed number.

    Parameters
    ----------
    radius : float
        Farthest neighbour, Angstrom.
    max_neighbors : int
        Shells are added until an atom has that many neighbours.
    step : float
        Distance and width of the Gaussians, Angstrom.
    elements : {"one-hot", "number"}
        Node features: (N, 103), or (N, 1) nuclear charges for models that embed them.

    References
    ----------
    Xie, Grossman, Phys. Rev. Lett. 120, 145301 (2018).

    Examples
    --------
    >>> salt = Crystal.create("NaCl", ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]],
    ...                       [[0, 2.82, 2.82], [2.82, 0, 2.82], [2.82, 2.82, 0]])
    >>> CrystalGraphFeaturizer(max_neighbors=6).featurize([salt])[0]
    GraphData(node_features=[2, 103], edge_index=[2, 12], edge_features=[12, 41])
    """

    def __init__(
        self, radius: float = 8.0, max_neighbors: int = 12, step: float = 0.2, elements: str = "one-hot"
    ) -> None:
        if elements not in ("one-hot", "number"):
            raise InputError(
                f"there are no node features {elements!r}",
                field="elements",
                remedy="use 'one-hot' or 'number'",
            )
        if not (radius > 0 and step > 0 and max_neighbors > 0):
            raise InputError("radius, step and max_neighbors must be positive", field="radius")
        self.radius, self.max_neighbors, self.step = radius, max_neighbors, step
        self.elements = elements

    def featurize(self, datapoints: Iterable[Any], log_every_n: int = 1000, **kwargs: Any) -> np.ndarray:
        """Return an object array of ``GraphData``.

        Parameters
        ----------
        datapoints : iterable of Crystal
        log_every_n : int
            Accepted for the sake of the base class.

        Returns
        -------
        np.ndarray
            (N,) of ``GraphData``: ``edge_index`` (2, E) holds the neighbour and the atom it is a
            neighbour of, ``edge_features`` (E, radius / step + 1).

        Raises
        ------
        InputError
            With the name of the first crystal that has an atom without neighbours, coincident atoms
            or an element beyond lawrencium. (DeepChem's base class would put an empty array.)
        """
        if isinstance(datapoints, Crystal):
            datapoints = [datapoints]
        return object_array([self._featurize(point) for point in datapoints])

    def _featurize(self, datapoint: Any, **kwargs: Any) -> GraphData:
        if not isinstance(datapoint, Crystal):
            raise InputError(
                f"{type(datapoint).__name__} is no crystal",
                field="datapoints",
                remedy="give deepchem_dft.data.properties.records.Crystal objects",
            )
        centre, other, distance = self._edges(datapoint)
        return GraphData(
            self._nodes(datapoint), np.stack([other, centre]), gaussians(distance, self.radius, self.step)
        )

    def _nodes(self, crystal: Crystal) -> np.ndarray:
        if crystal.numbers.max() > MAX_CHARGE:
            raise InputError(
                f"element {crystal.numbers.max()} is beyond lawrencium", entry=crystal.name, field="sites"
            )
        if self.elements == "number":
            return crystal.numbers[:, None].astype(np.float64)
        return np.eye(MAX_CHARGE)[crystal.numbers - 1]

    def _edges(self, crystal: Crystal) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        centre, other, distance = self._pairs(crystal)
        if len(distance) and distance.min() < _COINCIDENT:
            pair = int(np.argmin(distance))
            raise InputError(
                f"atoms {centre[pair] + 1} and {other[pair] + 1} coincide",
                entry=crystal.name,
                field="sites",
                remedy="check the cell",
            )
        order = np.lexsort((other, distance, centre))
        centre, other, distance = centre[order], other[order], distance[order]
        counts = np.bincount(centre, minlength=len(crystal.numbers))
        if not counts.all():
            lonely = int(np.argmin(counts))
            raise InputError(
                f"atom {lonely + 1} has no neighbour within {self.radius:g} Angstrom",
                entry=crystal.name,
                field="sites",
                remedy="choose a larger radius",
            )
        starts = np.cumsum(counts) - counts
        last = distance[starts + np.minimum(counts, self.max_neighbors) - 1]
        kept = distance <= last[centre] + SHELL
        return centre[kept], other[kept], distance[kept]

    def _pairs(self, crystal: Crystal) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return pairs up to a distance that holds all edges, mostly far below the radius."""
        volume = abs(np.linalg.det(crystal.cell)) / len(crystal.numbers)
        reach = 1.3 * (volume * self.max_neighbors) ** (1 / 3) * 0.62  # of a sphere with so many
        while True:
            reach = min(reach, self.radius)
            centre, other, distance = neighbours(crystal.cell, crystal.positions, reach)
            within = np.bincount(centre[distance <= reach - SHELL], minlength=len(crystal.numbers))
            if reach == self.radius or within.min() >= self.max_neighbors:
                return centre, other, distance
            reach *= 1.4


def gaussians(distance: np.ndarray, radius: float, step: float) -> np.ndarray:
    """Expand distances in Gaussians at 0, step, ..., radius.

    Parameters
    ----------
    distance : np.ndarray
        (E,) Angstrom.
    radius, step : float
        Angstrom.

    Returns
    -------
    np.ndarray
        (E, radius / step + 1): ``exp(-((distance - centre) / step)**2)``.

    Examples
    --------
    >>> gaussians(np.array([1.0]), 2.0, 1.0).round(3)
    array([[0.368, 1.   , 0.368]])
    """
    centres = step * np.arange(round(radius / step) + 1)
    return np.exp(-(((distance[:, None] - centres) / step) ** 2))
