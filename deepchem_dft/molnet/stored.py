"""Data sets kept on disk as arrays and text: reading them executes nothing.

DeepChem's own files hold pickles, and whoever can write to the folder of one runs code in the
process that opens it. So what is kept is written here, without pickles; DeepChem's data sets are
made of it in a folder that this process made for itself and removes at its end.
"""

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import deepchem as dc
import numpy as np
from deepchem.feat.graph_data import GraphData

from deepchem_dft.data.featurizer import object_array
from deepchem_dft.lattice.exact import ExactState
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.systems import System

#: X, y, w and ids of some samples.
Shard = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Arrays = dict[str, np.ndarray]
_GRAPH = ("node_features", "edge_index", "edge_features", "node_pos_features")


class Unstorable(TypeError):
    """Features of a kind that has no form as plain arrays."""


def private_folder() -> Path:
    """Return a new folder of this user's alone; it is removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="deepchem_dft-"))
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked process has the same list of what to do at its end
        shutil.rmtree(folder, ignore_errors=True)


def write_shard(path: Path, shard: Shard) -> None:
    """Write samples to a file of plain arrays.

    Raises
    ------
    Unstorable
        If the features are neither arrays of one shape, nor ``GraphData``, nor `ExactState`.
    """
    X, y, w, ids = shard
    kind, packed = _packed(list(X))
    content: dict[str, Any] = {f"x_{name}": array for name, array in packed.items()}
    np.savez(path, kind=np.array(kind), y=y, w=w, ids=np.array(ids, dtype=str), **content)


def read_shards(folder: Path) -> Iterator[Shard]:
    """Yield what was written to ``shard-0.npz`` and following, in order.

    Raises
    ------
    Exception
        Of any type, if a file is damaged; nothing in it is executed.
    """
    for number in range(len(list(folder.glob("shard-*.npz")))):
        with np.load(folder / f"shard-{number}.npz", allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        packed = {n.removeprefix("x_"): a for n, a in arrays.items() if n.startswith("x_")}
        _, unpack = _KINDS[str(arrays["kind"])]
        yield unpack(packed), arrays["y"], arrays["w"], arrays["ids"]


def disk_dataset(shards: Iterator[Shard], folder: Path, tasks: Sequence[str]) -> dc.data.DiskDataset:
    """Return DeepChem's data set of some shards, in a folder of this process."""
    return dc.data.DiskDataset.create_dataset(shards, str(folder), list(tasks))


def _packed(items: list[Any]) -> tuple[str, Arrays]:
    for kind, (pack, _) in _KINDS.items():
        packed = pack(items)
        if packed is not None:
            return kind, packed
    raise Unstorable(f"a {type(items[0]).__name__} has no form as arrays")


# -- arrays of one shape --------------------------------------------------------------------------


def _pack_arrays(items: list[Any]) -> Arrays | None:
    same = all(
        isinstance(x, np.ndarray)
        and x.dtype.kind in "biuf"
        and (x.shape, x.dtype) == (items[0].shape, items[0].dtype)
        for x in items
    )
    return {"all": np.stack(items) if items else np.empty(0)} if same else None


# -- graphs ---------------------------------------------------------------------------------------


def _pack_graphs(items: list[Any]) -> Arrays | None:
    if not all(type(x) is GraphData for x in items):
        return None
    fields = [{**{n: getattr(x, n) for n in _GRAPH}, **x.kwargs} for x in items]
    packed: Arrays = {}
    for name in fields[0]:
        rows: list[Any] = [field.get(name) for field in fields]
        if all(row is None for row in rows) and name in _GRAPH:
            continue
        rows = [row.T if name == "edge_index" and row is not None else row for row in rows]
        if not all(
            isinstance(r, np.ndarray)
            and r.ndim
            and r.dtype.kind in "biuf"
            and (r.shape[1:], r.dtype) == (rows[0].shape[1:], rows[0].dtype)
            for r in rows
        ):
            return None
        packed[name] = np.concatenate(rows)
        packed[f"{name}.ends"] = np.cumsum([len(row) for row in rows])
    return packed if all(field.keys() == fields[0].keys() for field in fields) else None


def _unpack_graphs(packed: Arrays) -> np.ndarray:
    columns = {
        name: np.split(packed[name], packed[f"{name}.ends"][:-1])
        for name in packed
        if not name.endswith(".ends")
    }
    graphs = []
    for values in zip(*columns.values(), strict=True):
        fields = dict(zip(columns, values))
        fields["edge_index"] = fields["edge_index"].T
        graphs.append(GraphData(**fields))
    return object_array(graphs)


# -- exact states ---------------------------------------------------------------------------------


def _pack_states(items: list[Any]) -> Arrays | None:
    if not all(type(x) is ExactState for x in items):
        return None
    rows = [
        {
            "system": asdict(x.system),
            "grid": asdict(x.grid),
            "energy": x.energy,
            "method": x.method,
            "orbitals": x.orbitals,
        }
        for x in items
    ]
    return {
        "states": np.array([json.dumps(row) for row in rows]),
        "densities": np.stack([x.spin_density for x in items]),
    }


def _unpack_states(packed: Arrays) -> np.ndarray:
    states = []
    for text, density in zip(packed["states"], packed["densities"], strict=True):
        row = json.loads(str(text))
        row["system"], row["grid"] = System(**row["system"]), Grid(**row["grid"])
        states.append(ExactState(spin_density=density, **row))
    return object_array(states)


_KINDS: dict[str, tuple[Callable[[list[Any]], Arrays | None], Callable[[Arrays], np.ndarray]]] = {
    "arrays": (_pack_arrays, lambda packed: packed["all"]),
    "graphs": (_pack_graphs, _unpack_graphs),
    "states": (_pack_states, _unpack_states),
}
