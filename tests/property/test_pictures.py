"""Neighbour pictures show the bonds of a molecule; image files are read as documented."""

import numpy as np
import pytest
from rdkit import Chem

from deepchem_dft.errors import InputError
from deepchem_dft.property.pictures import PictureFeaturizer, digits, neighbour_picture, read_cifar10

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


def test_a_picture_holds_the_graph():
    picture = PictureFeaturizer(16).featurize(ASPIRIN)[0]
    molecule = Chem.MolFromSmiles(ASPIRIN)
    n = molecule.GetNumAtoms()
    assert picture.dtype == np.float32 and picture.shape == (3, 16, 16)
    assert not picture[:, n:].any() and not picture[:, :, n:].any()
    bonds = picture[2, :n, :n] * (1 - np.eye(n))
    assert np.count_nonzero(bonds) == 2 * molecule.GetNumBonds()
    expected = sorted(b.GetBondTypeAsDouble() for b in molecule.GetBonds())
    assert np.allclose(np.sort(3 * bonds[np.triu_indices(n)])[-len(expected) :], expected)
    numbers = 54 * np.diagonal(picture[0])[:n] ** 2
    assert sorted(np.round(numbers)) == sorted(a.GetAtomicNum() for a in molecule.GetAtoms())
    assert np.array_equal(picture[0, :n, :n], picture[1, :n, :n].T)
    hydrogens = 4 * np.diagonal(picture[2])[:n]
    assert hydrogens.sum() == 8


def test_bonds_lie_close_to_the_diagonal():
    chain = PictureFeaturizer(32).featurize("C" * 20)[0]
    rows, columns = chain[2].nonzero()
    assert abs(rows - columns).max() == 1


def test_spelling_does_not_matter():
    molecule = Chem.MolFromSmiles(ASPIRIN)
    spellings = [Chem.MolToSmiles(molecule, doRandom=True) for _ in range(5)] + [molecule]
    pictures = PictureFeaturizer(16).featurize(spellings)
    assert (pictures == pictures[0]).all()


def test_molecules_that_cannot_be_painted_are_named():
    with pytest.raises(InputError, match=r"entry CCCCC: 5 atoms do not fit .* size=5"):
        PictureFeaturizer(4).featurize(["C", "CCCCC"])
    with pytest.raises(InputError, match="entry C1CC: RDKit cannot read"):
        PictureFeaturizer(4).featurize(["C1CC"])
    with pytest.raises(InputError, match="0 atoms"):
        neighbour_picture([], [])


def _write(path, labels):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    np.concatenate([np.array(labels, dtype=np.uint8)[:, None], pixels], 1).tofile(path)
    return pixels


def test_cifar10_as_published(tmp_path):
    first = _write(tmp_path / "data_batch_1.bin", [3, 9])
    _write(tmp_path / "data_batch_2.bin", [0])
    _write(tmp_path / "test_batch.bin", [5, 5])
    train, test = read_cifar10(tmp_path)
    assert train.y.ravel().tolist() == [3, 9, 0] and test.y.ravel().tolist() == [5, 5]
    assert train.X.shape == (3, 3, 32, 32)
    # The published layout: 1024 red, then green, then blue bytes, rows first.
    assert np.allclose(train.X[1, 2, 4, 7] * 255, first[1, 2 * 1024 + 4 * 32 + 7])


def test_bad_image_files_are_named(tmp_path):
    with pytest.raises(InputError, match="no data_batch"):
        read_cifar10(tmp_path)
    _write(tmp_path / "data_batch_1.bin", [3, 9])
    with pytest.raises(InputError, match=r"test_batch.bin.*cannot be read"):
        read_cifar10(tmp_path)
    _write(tmp_path / "test_batch.bin", [1, 200])
    with pytest.raises(InputError, match=r"test_batch.bin, entry 1, field 'label': 200"):
        read_cifar10(tmp_path)
    whole = (tmp_path / "data_batch_1.bin").read_bytes()
    (tmp_path / "data_batch_1.bin").write_bytes(whole[:-1])
    with pytest.raises(InputError, match=r"data_batch_1.bin, entry 1"):
        read_cifar10(tmp_path)


def test_digits():
    data = digits()
    assert data.X.min() == 0 and data.X.max() == 1
    assert np.bincount(data.y.ravel()).min() > 170
