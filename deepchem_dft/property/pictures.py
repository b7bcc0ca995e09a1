"""Pictures: molecules painted, and data sets of pictures to compare with."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from deepchem.data import NumpyDataset
from deepchem.feat import Featurizer

from deepchem_dft.errors import InputError

#: Atomic number that is painted at full brightness.
_BRIGHTEST = 54.0


def neighbour_picture(
    numbers: Sequence[int] | np.ndarray,
    bonds: Iterable[tuple[int, int, float]],
    hydrogens: Sequence[int] | np.ndarray | None = None,
    size: int = 32,
) -> np.ndarray:
    """Paint the neighbours of every atom: one row and one column of pixels per atom.

    The atoms are walked breadth first from a peripheral one (reverse Cuthill-McKee order), so
    that bonds lie close to the diagonal and chains, rings and branches make local patterns that a
    convolution can see. All channels are between 0 and 1:

    =======  ==============================  =======================================
    channel  pixel (i, j) of bonded atoms    pixel (i, i)
    =======  ==============================  =======================================
    0        atomic number of i, root of     the same
             its share of 54
    1        atomic number of j, likewise    the same
    2        bond order / 3                  hydrogens that are not atoms here, / 4
    =======  ==============================  =======================================

    Everything else is black: a molecule of n atoms fills the upper left n x n pixels.

    Parameters
    ----------
    numbers : sequence of int
        (N,) atomic numbers.
    bonds : iterable of (int, int, float)
        Two atoms and the order of their bond: 1, 1.5 (aromatic), 2, 3.
    hydrogens : sequence of int, optional
        (N,) implicit hydrogens.
    size : int
        Pixels along an edge.

    Returns
    -------
    np.ndarray
        (3, size, size), float32.

    Raises
    ------
    InputError
        If there are more atoms than pixels, or none.

    Examples
    --------
    >>> formic_acid = neighbour_picture([6, 8, 8], [(0, 1, 2), (0, 2, 1)], [1, 0, 1], size=4)
    >>> 3 * formic_acid[2, 1]  # the carbon, between its two oxygens
    array([1.  , 0.75, 2.  , 0.  ], dtype=float32)
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    count, pairs = len(numbers), list(bonds)
    if not 1 <= count <= size:
        raise InputError(
            f"{count} atoms do not fit a picture of {size} pixels",
            remedy=f"use size={count}, or leave the molecule out",
        )
    order = np.zeros((count, count), dtype=np.float32)
    for i, j, strength in pairs:
        order[i, j] = order[j, i] = strength
    walk = reverse_cuthill_mckee(csr_matrix(order > 0), symmetric_mode=True)
    order = order[np.ix_(walk, walk)]
    bright = np.sqrt(np.minimum(np.asarray(numbers, dtype=np.float32)[walk] / _BRIGHTEST, 1.0))
    painted = (order > 0) | np.eye(count, dtype=bool)
    picture = np.zeros((3, size, size), dtype=np.float32)
    picture[0, :count, :count] = painted * bright[:, None]
    picture[1, :count, :count] = painted * bright[None, :]
    picture[2, :count, :count] = order / 3
    if hydrogens is not None:
        place = np.arange(count)
        picture[2, place, place] = np.minimum(np.asarray(hydrogens)[walk] / 4, 1.0)
    return picture


class PictureFeaturizer(Featurizer):
    """Make neighbour pictures of SMILES or RDKit molecules.

    A molecule gives the same picture however its SMILES is written.

    Parameters
    ----------
    size : int
        Pixels along an edge: as many atoms as a molecule may have, hydrogens not counted.

    Examples
    --------
    >>> pictures = PictureFeaturizer(size=16).featurize(["CCO", "OCC"])
    >>> pictures.shape, bool((pictures[0] == pictures[1]).all())
    ((2, 3, 16, 16), True)
    """

    def __init__(self, size: int = 32) -> None:
        self.size = size

    def featurize(self, datapoints: Any, log_every_n: int = 1000, **kwargs: Any) -> np.ndarray:
        """Return pictures (N, 3, size, size).

        Raises
        ------
        InputError
            For the first molecule that cannot be read or is too large.
        """
        if isinstance(datapoints, str) or not np.iterable(datapoints):
            datapoints = [datapoints]
        pictures = [self._featurize(d) for d in datapoints]
        return np.stack(pictures) if pictures else np.zeros((0, 3, self.size, self.size))

    def _featurize(self, datapoint: Any, **kwargs: Any) -> np.ndarray:
        from rdkit import Chem, rdBase

        with rdBase.BlockLogs():
            molecule = Chem.MolFromSmiles(datapoint) if isinstance(datapoint, str) else datapoint
        name = datapoint if isinstance(datapoint, str) else None
        if molecule is None:
            raise InputError("RDKit cannot read this SMILES", entry=name)
        ranks = list(Chem.CanonicalRankAtoms(molecule, breakTies=True))
        molecule = Chem.RenumberAtoms(molecule, np.argsort(ranks).tolist()) if ranks else molecule
        atoms = list(molecule.GetAtoms())
        bonds = [
            (b.GetBeginAtomIdx(), b.GetEndAtomIdx(), b.GetBondTypeAsDouble()) for b in molecule.GetBonds()
        ]
        try:
            return neighbour_picture(
                [a.GetAtomicNum() for a in atoms], bonds, [a.GetTotalNumHs() for a in atoms], self.size
            )
        except InputError as error:
            raise error.located(entry=name or Chem.MolToSmiles(molecule)) from None


_RECORD = 1 + 3 * 32 * 32
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def read_cifar10(folder: str | Path) -> tuple[NumpyDataset, NumpyDataset]:
    """Read CIFAR-10's binary version (which you downloaded).

    Parameters
    ----------
    folder : path
        Holds ``data_batch_*.bin`` (any number of them) and ``test_batch.bin``.

    Returns
    -------
    train, test : NumpyDataset
        X (N, 3, 32, 32) from 0 to 1, float32; y (N, 1), the class.

    Raises
    ------
    InputError
        If files are missing, cut off, or of another kind.

    References
    ----------
    A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009).
    """
    folder = Path(folder)
    batches = sorted(folder.glob("data_batch_*.bin"))
    if not batches:
        raise InputError(
            "there is no data_batch_*.bin",
            file=str(folder),
            remedy="unpack cifar-10-binary.tar.gz and give its folder",
        )
    parts = [_read(path) for path in batches]
    train = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    test = _read(folder / "test_batch.bin")
    return NumpyDataset(*train), NumpyDataset(*test)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return (pictures, classes): per record a byte for the class, and 3072 of red, green, blue."""
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", file=str(path)) from None
    if not len(data) or len(data) % _RECORD:
        raise InputError(
            f"{len(data)} bytes are not a whole number of records of {_RECORD}",
            file=str(path),
            entry=str(len(data) // _RECORD),
            field="pixels",
            remedy="fetch the file again; it is cut off or not CIFAR-10",
        )
    records = data.reshape(-1, _RECORD)
    wrong = records[:, 0] >= len(CIFAR10_CLASSES)
    if wrong.any():
        first = int(wrong.argmax())
        raise InputError(
            f"{records[first, 0]} is not a class from 0 to 9", file=str(path), entry=str(first), field="label"
        )
    pictures = records[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32) / 255
    return pictures, records[:, :1].astype(np.int64)


def digits() -> NumpyDataset:
    """Return scikit-learn's 1,797 handwritten digits: X (N, 1, 8, 8) from 0 to 1, y (N, 1).

    Examples
    --------
    >>> digits()
    <NumpyDataset X.shape: (1797, 1, 8, 8), y.shape: (1797, 1), ...>
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    return NumpyDataset(found.images[:, None].astype(np.float32) / 16, found.target[:, None])
