"""Cell and sizes of a DEQModel that says none: those of parameters it is given."""

import deepchem as dc
import numpy as np
import pytest

from deepchem_dft.errors import CheckpointError, InputError
from deepchem_dft.models import DEQModel


def test_parameters_that_were_loaded_are_not_lost_to_other_features():
    graphs = dc.data.NumpyDataset(dc.feat.MolGraphConvFeaturizer().featurize(["CCO", "CC"]), np.ones((2, 1)))
    source = DEQModel(1, width=8, seed=3)
    source.fit(graphs, nb_epoch=1)
    model = DEQModel(1, width=8, n_edge_features=source.config["n_edge_features"], seed=4)
    model.load_from_pretrained(source)
    assert np.array_equal(model.predict(graphs), source.predict(graphs))
    vectors = dc.data.NumpyDataset(np.zeros((3, 7)), np.zeros((3, 1)))
    with pytest.raises(InputError):
        model.fit(vectors, nb_epoch=1)
    assert np.array_equal(model.predict(graphs), source.predict(graphs))


@pytest.mark.parametrize("way", ["model", "folder", "restore", "file"])
def test_a_model_that_says_no_sizes_takes_the_parameters_of_one_that_chose_them(tmp_path, way):
    graphs = dc.feat.MolGraphConvFeaturizer(use_edges=False).featurize(["CCO", "CC"])
    dataset = dc.data.NumpyDataset(graphs, np.ones((2, 1)))
    source = DEQModel(1, width=8, seed=3, model_dir=str(tmp_path / "m"))
    source.fit(dataset, nb_epoch=1)  # no features of bonds, where 11 are assumed
    assert source.config["n_edge_features"] == 0
    target = DEQModel(1, width=8, seed=4)
    if way == "restore":
        target.restore(model_dir=str(tmp_path / "m"))
    else:
        file = source.get_checkpoints()[0]
        target.load_from_pretrained({"model": source, "folder": tmp_path / "m", "file": file}[way])
    assert np.array_equal(target.predict(dataset), source.predict(dataset))
    said = DEQModel(1, width=8, n_edge_features=11)
    with pytest.raises(CheckpointError):
        said.load_from_pretrained(str(tmp_path / "m"))
    with pytest.raises(CheckpointError):
        DEQModel(1, width=8).load_from_pretrained(str(tmp_path / "nowhere"))
