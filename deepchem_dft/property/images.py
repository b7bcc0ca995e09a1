"""Pictures to compare with: CIFAR-10 as it is published, and handwritten digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from deepchem.data import NumpyDataset

from deepchem_dft.errors import InputError

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
