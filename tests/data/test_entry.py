"""Entries: values, signs, derivatives, deviations."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from deepchem_dft.data import DFTEntry, DFTSystem
from deepchem_dft.errors import InputError

H = {"moldesc": "H 0 0 0", "basis": "sto-3g", "spin": 1}
H2 = {"moldesc": "H 0 0 0; H 0 0 1.4", "basis": "sto-3g"}
LI = {"moldesc": "Li 0 0 0", "basis": "sto-3g", "spin": 1}
CL = {"moldesc": "Cl 0 0 0", "basis": "sto-3g", "spin": 1}
CL_ANION = {"moldesc": "Cl 0 0 0", "basis": "sto-3g", "charge": -1}


class Calculation:
    """What a finished Kohn-Sham calculation looks like to an entry."""

    def __init__(self, energy):
        self._energy = energy

    def energy(self):
        return self._energy


def test_value_is_the_signed_sum_and_keeps_the_graph():
    entry = DFTEntry.create("ae", 0.17, [H2, {**H, "number": 2}])
    energies = [
        torch.tensor(-1.1, requires_grad=True, dtype=torch.float64),
        torch.tensor(-0.46, requires_grad=True, dtype=torch.float64),
    ]
    value = entry.get_val([Calculation(e) for e in energies])
    assert value.shape == (1,) and value.item() == pytest.approx(1.1 - 0.92)
    value.sum().backward()
    assert [e.grad.item() for e in energies] == [-1.0, 2.0]


def test_value_of_plain_numbers_is_an_array():
    entry = DFTEntry.create("ie", "0.5", [H])
    value = entry.get_val([Calculation(-0.46)])
    assert isinstance(value, np.ndarray) and value.shape == (1,) and value[0] == 0.46
    array = entry.get_val([Calculation(np.array([-0.46]))])
    np.testing.assert_array_equal(array, [0.46])
    with pytest.raises(ValueError, match="1 systems"):
        entry.get_val([])


@pytest.mark.parametrize(
    ("e_type", "systems", "coefficients", "expected"),
    [
        ("energy", [LI], None, [1]),
        ("ae", [H2, H, H], None, [-1, 1, 1]),
        ("ea", [CL, CL_ANION], None, [1, -1]),
        ("ea", [CL_ANION, CL], None, [-1, 1]),
        ("ie", [CL_ANION, CL], None, [-1, 1]),
        ("reaction", [H2, H], [1, -2], [1, -2]),
    ],
)
def test_coefficients(e_type, systems, coefficients, expected):
    entry = DFTEntry.create(e_type, 0.1, systems, coefficients=coefficients)
    assert entry.coefficients == expected and entry.is_energy
    assert entry.entry_type == e_type and len(entry.get_systems()) == len(systems)


def test_systems_may_be_objects_and_values_arrays():
    entry = DFTEntry.create("ie", np.array([0.5]), [DFTSystem(H)], name="hydrogen", weight=2)
    assert (entry.name, entry.get_weight(), entry.label) == ("hydrogen", 2, 0.5)
    assert DFTEntry.create("ie", "13.6057 eV", [H]).label == pytest.approx(0.5, abs=1e-5)
    assert DFTEntry.create("ie", 13.6057, [H], energy_unit="eV").label == pytest.approx(0.5, abs=1e-5)


def test_wrong_arguments():
    for kwargs, field in (
        ({"e_type": "foo"}, "e_type"),
        ({"e_type": None}, "e_type"),
        ({"true_val": None}, "true_val"),
        ({"true_val": True}, "true_val"),
        ({"true_val": np.array([1.0, 2.0])}, "true_val"),
        ({"systems": []}, "systems"),
        ({"systems": H}, "systems"),
        ({"weight": "x"}, "weight"),
        ({"weight": -1}, "weight"),
        ({"split": "dev"}, "split"),
        ({"e_type": "reaction"}, "coefficients"),
        ({"coefficients": [1, 2]}, "coefficients"),
        ({"coefficients": ["a"]}, "coefficients"),
    ):
        arguments = {"e_type": "ie", "true_val": 0.5, "systems": [H], **kwargs}
        with pytest.raises(InputError) as caught:
            DFTEntry.create(**arguments)
        assert caught.value.field == field and caught.value.remedy


def test_the_list_of_systems_cannot_be_changed_from_outside():
    entry = DFTEntry.create("ie", 0.5, [H])
    entry.get_systems().clear()
    assert len(entry.get_systems()) == 1


def test_equality_sees_values_names_and_systems():
    entry = DFTEntry.create("ie", 0.5, [H])
    assert entry == DFTEntry.create("ie", 0.5, [H])
    for other in (
        DFTEntry.create("ie", 0.6, [H]),
        DFTEntry.create("ie", 0.5, [H], 2),
        DFTEntry.create("ie", 0.5, [LI]),
        DFTEntry.create("ie", 0.5, [H], name="x"),
        DFTEntry.create("energy", 0.5, [H]),
    ):
        assert entry != other
    matrix = np.array([[0.6, 0.6], [0.6, 0.6]])
    overlap = DFTSystem(H2).to_molecule().overlap.numpy()
    matrix *= 2 / np.sum(matrix * overlap)
    assert DFTEntry.create("dm", matrix, [H2]) == DFTEntry.create("dm", matrix.copy(), [H2])
    assert DFTEntry.create("dm", matrix, [H2]) != entry != 3


@pytest.fixture
def matrix_entry():
    overlap = DFTSystem(H2).to_molecule().overlap.numpy()
    matrix = np.ones((2, 2))
    return DFTEntry.create("dm", matrix * 2 / np.sum(matrix * overlap), [H2])


def test_density_matrix_deviation_is_the_rms_of_elements(matrix_entry):
    target = torch.tensor(matrix_entry.get_true_val())
    shift = torch.tensor([[3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    result = SimpleNamespace(total_density_matrix=(target + shift).requires_grad_())
    deviation = matrix_entry.deviation(result)
    assert deviation.shape == () and deviation.item() == pytest.approx(np.sqrt(25 / 4))
    (gradient,) = torch.autograd.grad(deviation, result.total_density_matrix)
    torch.testing.assert_close(gradient, shift / 10)
    exact = target.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(matrix_entry.deviation(exact), exact)
    assert torch.isfinite(gradient).all()
    assert matrix_entry.get_val([SimpleNamespace(aodmtot=lambda: target)]) is target
    assert matrix_entry.label == 0.0 and matrix_entry.coefficients == []


@pytest.mark.parametrize("weights", [[0.5, 1.5], [2.5, -0.5]])
def test_density_deviation_is_the_weighted_norm(weights):
    target = {"points": np.zeros((2, 3)), "weights": np.array(weights), "density": np.ones(2)}
    entry = DFTEntry.create("dens", target, [H2])
    shift = torch.tensor([2.0, 1.0], dtype=torch.float64)
    seen = []

    def density(points):
        seen.append(points)
        return torch.ones(2, dtype=torch.float64) + shift

    deviation = entry.deviation(SimpleNamespace(density=density))
    assert deviation.item() == pytest.approx(np.sqrt(weights[0] * 4 + weights[1]))
    assert seen[0].shape == (2, 3)
    exact = torch.ones(2, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(entry.deviation(exact), exact)
    assert torch.isfinite(gradient).all()
    assert entry.get_val([SimpleNamespace(dens=density)]).shape == (2,)
    grid = entry.get_integration_grid()
    assert grid.get_rgrid().shape == (2, 3) and grid.get_dvolume().tolist() == weights
