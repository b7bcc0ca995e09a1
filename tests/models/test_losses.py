"""Losses: values by hand, units, weights, and refusals."""

import deepchem as dc
import pytest
import torch

from deepchem_dft.errors import InputError
from deepchem_dft.models import EntryLoss


class Entry:
    def __init__(self, kind):
        self.entry_type, self.is_energy = kind, kind not in ("dm", "dens")


AE, DENS = Entry("ae"), Entry("dens")
PREDICTION = torch.tensor([[0.3], [0.5]], dtype=torch.float64)
TARGET = torch.tensor([[0.1], [0.0]], dtype=torch.float64)
WEIGHT = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
HARTREE = 627.5094740631  # kcal/mol


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("l2", (0.2**2 + 2 * 0.5**2) / 2),
        ("l1", (0.2 + 2 * 0.5) / 2),
        ("huber", (0.5 * 0.2**2 + 2 * 0.25 * (0.5 - 0.125)) / 2),
        (dc.models.losses.L1Loss(), (0.2 + 2 * 0.5) / 2),
        (lambda p, y, w: (w * (p - y)).sum(), 0.2 + 2 * 0.5),
        (lambda p, y, w: w * (p - y), (0.2 + 2 * 0.5) / 2),
    ],
)
def test_values_by_hand(loss, expected):
    value = EntryLoss(loss, huber_delta=0.25)([AE, DENS], PREDICTION, TARGET, WEIGHT)
    assert value.item() == pytest.approx(expected, rel=1e-14)


def test_unit_scales_energies_only_and_type_weights_multiply():
    loss = EntryLoss("l1", unit="kcal/mol", type_weights={"ae": 3.0})
    expected = (3 * 0.2 * HARTREE + 2 * 0.5) / 2
    value = loss([AE, DENS], PREDICTION, TARGET, WEIGHT)
    assert value.item() == pytest.approx(expected, rel=1e-10)


def test_user_loss_sees_scaled_errors_and_all_weights():
    seen = []

    def user(p, y, w):
        seen.append((p, y, w))
        return (w * (p - y) ** 2).sum()

    EntryLoss(user, unit="kcal/mol", type_weights={"dens": 7.0})([AE, DENS], PREDICTION, TARGET, WEIGHT)
    p, y, w = seen[0]
    assert p[0].item() == pytest.approx(0.3 * HARTREE, rel=1e-10)
    assert p[1].item() == 0.5 and y[1].item() == 0.0
    assert w.flatten().tolist() == [1.0, 14.0]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"loss": "l3"}, "loss"),
        ({"loss": 3}, "loss"),
        ({"loss": "huber", "huber_delta": 0.0}, "huber_delta"),
        ({"unit": "furlong"}, "loss_unit"),
        ({"type_weights": {"ae": -1.0}}, "type_weights"),
        ({"type_weights": {"ae": float("nan")}}, "type_weights"),
    ],
)
def test_refusals_name_the_field(options, field):
    with pytest.raises(InputError) as error:
        EntryLoss(**options)
    assert error.value.field == field and error.value.remedy
