"""Pulay's extrapolation, by itself and on Fock matrices."""

import _fock as benchmark
import pytest
import torch

from deepchem_dft.equilibrium import DIIS, Pulay, fixed_point
from deepchem_dft.errors import InputError


def best_mixture(values, errors):
    """Constrained least squares by Lagrange's equations."""
    count = len(errors)
    E = torch.stack([e.flatten() for e in errors])
    system = torch.ones(count + 1, count + 1, dtype=E.dtype)
    system[:count, :count], system[count, count] = E @ E.T, 0.0
    right = torch.zeros(count + 1, dtype=E.dtype)
    right[count] = 1.0
    return torch.einsum("i,i...->...", torch.linalg.solve(system, right)[:count], torch.stack(values))


def test_the_mixture_is_that_of_the_smallest_error():
    diis, values, errors = DIIS(), [], []
    for i in range(5):
        values.append(torch.randn(2, 3, 3, dtype=torch.float64))
        errors.append(10.0**-i * torch.randn(7, dtype=torch.float64))  # of any shape and size
        mixed = diis.update(values[-1], errors[-1])
        torch.testing.assert_close(mixed, best_mixture(values, errors), rtol=1e-6, atol=1e-8)


def test_the_worst_makes_room_not_the_oldest():
    diis = DIIS(window=3)
    sizes = [0.1, 5.0, 1.0, 0.5, 0.4]  # the second goes first, then the third
    values = [torch.randn(4, dtype=torch.float64) for _ in sizes]
    errors = [s * torch.nn.functional.normalize(torch.randn(6, dtype=torch.float64), dim=0) for s in sizes]
    for value, error in zip(values, errors):
        mixed = diis.update(value, error)
    kept = [0, 3, 4]
    expected = best_mixture([values[i] for i in kept], [errors[i] for i in kept])
    torch.testing.assert_close(mixed, expected, rtol=1e-6, atol=1e-8)


def test_an_error_that_is_no_number_is_passed_over():
    diis = DIIS()
    values = [torch.randn(4, dtype=torch.float64) for _ in range(4)]
    errors = [torch.randn(6, dtype=torch.float64) for _ in range(4)]
    diis.update(values[0], errors[0])
    assert diis.update(values[1], errors[1] * torch.nan).equal(values[1])
    diis.update(values[2], errors[2])
    mixed = diis.update(values[3], errors[3])
    kept = [0, 2, 3]
    torch.testing.assert_close(
        mixed, best_mixture([values[i] for i in kept], [errors[i] for i in kept]), rtol=1e-6, atol=1e-8
    )


def test_an_error_of_the_users_own_decides(problem):
    """Residuals weighed differently: two components of different size matter alike."""
    f, z = problem("linear", 0.95, samples=2, size=6)
    weights = torch.logspace(0, 4, 6, dtype=z.dtype)
    # The same as unweighed in scaled coordinates.
    scaled = fixed_point(
        lambda y: weights * f(y / weights),
        z,
        solver=Pulay(4),
        max_iter=6,
        tol=0.0,
        fallback=False,
        adjoint="unrolled",
    )
    unrolled = fixed_point(
        f,
        z,
        solver=Pulay(4),
        error=lambda z, fz: weights * (fz - z),
        max_iter=6,
        tol=0.0,
        fallback=False,
        adjoint="unrolled",
    )
    for mine, theirs in zip(unrolled.trajectory, scaled.trajectory):
        torch.testing.assert_close(mine, theirs / weights, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["complex", "half", "double", "whole", "flat"])
def test_an_error_may_be_of_any_type(kind):
    """All the same residual, up to the precision it is given in; the state is single precision."""
    b = torch.tensor([[0.3, -1.0, 0.2, 0.7], [0.5, 0.2, -0.4, 0.1]])
    rate = torch.tensor([0.9, -0.8, 0.5, 0.2])
    cast = {
        "complex": lambda r: torch.complex(r[:, :2], r[:, 2:]).to(torch.complex128),
        "half": lambda r: r.bfloat16(),
        "double": lambda r: r.double(),
        "whole": lambda r: (r * 1e6).long(),
        "flat": lambda r: r.norm(dim=1),
    }[kind]
    found = fixed_point(
        lambda z: rate * z + b,
        torch.zeros_like(b),
        solver="diis",
        tol=1e-5,
        error=lambda z, fz: cast(fz - z),
        adjoint="unrolled",
    )
    assert found.converged.all()
    torch.testing.assert_close(found.state, b / (1 - rate), rtol=1e-4, atol=1e-4)
    if kind in ("complex", "double"):  # not a digit less than the residual itself
        plain = fixed_point(lambda z: rate * z + b, torch.zeros_like(b), solver="diis", tol=1e-5)
        assert found.iterations.tolist() == plain.iterations.tolist()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (lambda z, fz: (fz - z).T, r"shape \(3, 2\) for 2 samples"),
        (lambda z, fz: (fz - z).sum(), r"shape \(\) for 2 samples"),
        (lambda z, fz: [fz - z], "a list for 2 samples"),
    ],
)
def test_an_error_that_is_not_one_row_per_sample_is_refused(error, message):
    with pytest.raises(InputError, match=message) as caught:
        fixed_point(lambda z: 0.5 * z + 1.0, torch.zeros(2, 3), solver="diis", tol=1e-5, error=error)
    assert (caught.value.field, "a row per sample" in caught.value.remedy) == ("error", True)


def test_fock_matrices_of_water_converge_as_fast_as_in_pyscf():
    fock = benchmark.FockProblem("water", basis="6-31g*", grid_level=1)
    ours, theirs = fock.iterate(DIIS().update), fock.pyscf()
    assert theirs.converged
    assert ours.builds <= theirs.builds + 1
    assert ours.energy == pytest.approx(theirs.energy, abs=1e-8)
    assert fock.iterate(None).builds > ours.builds  # plain iteration


@pytest.mark.slow
@pytest.mark.parametrize("name", benchmark.MOLECULES)
def test_fock_matrices_converge_as_fast_as_in_pyscf(name):
    fock = benchmark.FockProblem(name)
    ours, theirs = fock.iterate(DIIS().update), fock.pyscf()
    assert ours.converged
    if theirs.converged:
        assert ours.builds <= theirs.builds + 1
        assert ours.energy == pytest.approx(theirs.energy, abs=1e-8)
