"""The featurizer behind the loader: raw entries in, `DFTEntry` objects out, errors raised."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from deepchem.feat import Featurizer

from deepchem_dft.data.entry import DFTEntry
from deepchem_dft.data.fields import show
from deepchem_dft.data.reading.native_header import FORMAT, Header
from deepchem_dft.data.reading.reader import Context, RawEntry, schema_of
from deepchem_dft.errors import InputError

logger = logging.getLogger(__name__)


class DFTFeaturizer(Featurizer):
    """Turn entries as written in YAML into `DFTEntry` objects.

    Unlike DeepChem's base class, which replaces a datapoint that fails by an empty array, it
    raises an `InputError` with the name of the entry.

    Examples
    --------
    >>> he = {"moldesc": "He 0 0 0", "basis": "sto-3g"}
    >>> DFTFeaturizer().featurize([{"e_type": "ie", "true_val": 0.9, "systems": [
    ...     he, he | {"charge": 1, "spin": 1}]}])
    array([DFTEntry(ie 'ie-He': -E(He) + E(He+) = 0.900000 Ha)], dtype=object)
    """

    def featurize(self, datapoints: Iterable[Any], log_every_n: int = 1000, **kwargs: Any) -> np.ndarray:
        """Return an object array of entries.

        Parameters
        ----------
        datapoints : iterable
            `RawEntry`, `DFTEntry`, or mappings in DeepChem's, xcnn's or our own schema.
        log_every_n : int
            Log progress every so many entries.

        Returns
        -------
        np.ndarray
            Shape ``(N,)``, dtype object.

        Raises
        ------
        InputError
            For the first datapoint that is no valid entry.
        """
        if isinstance(datapoints, (Mapping, DFTEntry, RawEntry)):
            datapoints = [datapoints]
        entries = []
        for i, point in enumerate(datapoints):
            if i % log_every_n == 0:
                logger.info("Featurizing datapoint %i", i)
            try:
                entries.append(self._featurize(point, **kwargs))
            except InputError as error:
                raise error.located(entry=str(i + 1)) from None
        return object_array(entries)

    def _featurize(self, datapoint: Any, **kwargs: Any) -> DFTEntry:
        return self.featurize_one(datapoint)

    def featurize_one(self, datapoint: Any) -> DFTEntry:
        """Return the entry of one datapoint; see `featurize`."""
        if isinstance(datapoint, DFTEntry):
            return datapoint
        if isinstance(datapoint, RawEntry):
            return datapoint.build()
        if not isinstance(datapoint, Mapping):
            raise InputError(
                f"{show(datapoint)} is not an entry",
                field="datapoints",
                remedy="give mappings as in the YAML files",
            )
        if "value" in datapoint and "e_type" not in datapoint:
            context = Context(header=Header({"format": FORMAT, "entries": [dict(datapoint)]}))
            return RawEntry(datapoint, "native", context=context).build()
        return RawEntry(datapoint, schema_of([datapoint])).build()


def object_array(entries: Sequence[Any]) -> np.ndarray:
    """Return a one-dimensional object array, whatever the objects look like to numpy."""
    out = np.empty(len(entries), dtype=object)
    for i, entry in enumerate(entries):
        out[i] = entry
    return out
