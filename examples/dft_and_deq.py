"""Solve a self-consistent field and two equilibrium networks with the same solvers.

    python examples/dft_and_deq.py [--out dft_and_deq.png]

Prints evaluations of each map to a relative residual of 1e-9 and draws the residuals on the way.
The tutorial "DFT and DEQ: the same fixed point" explains what is seen. Takes a minute.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torch import Tensor

# DeepChem logs a line for every optional package it does not find.
logging.getLogger("deepchem").setLevel(logging.ERROR)

from deepchem_dft import DEQModel, KohnSham, Molecule, molnet  # noqa: E402
from deepchem_dft.equilibrium import Damped, Equilibrium, fixed_point  # noqa: E402
from deepchem_dft.scf.hamiltonian import KSHamiltonian  # noqa: E402
from deepchem_dft.xc.names import get_xc  # noqa: E402

TOL, LIMIT = 1e-9, 150
#: name: (solver, colour)
SOLVERS = {
    "plain": (Damped(), "#000000"),
    "damped, half-way": (Damped(0.5), "#E69F00"),
    "Broyden": ("broyden", "#009E73"),
    "Anderson": ("anderson", "#0072B2"),
    "DIIS (commutator)": ("diis", "#D55E00"),
}
Map = Callable[[Tensor], Tensor]
Found = dict[str, Equilibrium]


def report(title: str, f: Map, found: Found) -> None:
    """Print how every solver did."""
    print(f"\n{title}: errors grow by {growth(f, found['Anderson'].state):.2f} per step")
    for name, result in found.items():
        count = f"{int(result.converged.sum())} of {len(result.converged)} converged"
        print(
            f"  {name:18}{result.evaluations:4d} evaluations, {count}, "
            f"worst residual at the end {worst(result)[-1]:.0e}"
        )


def growth(f: Map, z: Tensor, steps: int = 60) -> float:
    """How much an error grows per step near a fixed point: the Jacobian's largest eigenvalue."""
    z = z.detach().requires_grad_()
    image, logarithms = f(z), []
    error = torch.randn(z.shape, generator=torch.Generator().manual_seed(0), dtype=z.dtype)
    for _ in range(steps):
        (error,) = torch.autograd.grad(image, z, error / error.norm(), retain_graph=True)
        logarithms.append(error.norm().log())
    return torch.stack(logarithms[-20:]).mean().exp().item()


def worst(found: Equilibrium) -> list[float]:
    """Relative residual of the worst sample after every evaluation."""
    return found.history.nan_to_num().amax(1).tolist()


def water() -> Found:
    """Fock matrices of water, PBE/def2-SVP, from the density of separate atoms."""
    molecule = Molecule("O 0 0 0; H 0 1.43 1.108; H 0 -1.43 1.108", basis="def2-svp")
    hamiltonian = KSHamiltonian(molecule, get_xc("native:pbe"))
    values, vectors = torch.linalg.eigh(hamiltonian.overlap)
    basis, pairs = vectors / values.sqrt(), int(molecule.nelec[0])
    repulsion = torch.from_numpy(molecule.pyscf_mol.intor("int2e"))

    def density(fock: Tensor) -> Tensor:
        _, orbitals = torch.linalg.eigh(basis.mT @ fock @ basis)
        occupied = basis @ orbitals[..., :pairs]
        return 2 * occupied @ occupied.mT

    def fock_of(density: Tensor) -> Tensor:
        rho = hamiltonian.density_of_matrix(density)
        potential = torch.func.grad(hamiltonian.xc_energy)(rho)
        coulomb = torch.einsum("ijkl,skl->sij", repulsion, density)
        return hamiltonian.core + coulomb + hamiltonian.matrix_of_potential(potential)

    def f(fock: Tensor) -> Tensor:
        return fock_of(density(fock))

    def commutator(fock: Tensor, image: Tensor) -> Tensor:
        product = image @ density(fock) @ hamiltonian.overlap
        return basis.mT @ (product - product.mT) @ basis

    atoms = molecule.starting_density[None]
    start = fock_of(atoms * (sum(molecule.nelec) / (atoms * hamiltonian.overlap).sum()))
    found = {
        name: fixed_point(
            f,
            start,
            solver=solver,
            tol=TOL,
            max_iter=LIMIT,
            fallback=False,
            error=commutator if solver == "diis" else None,
        )
        for name, (solver, _) in SOLVERS.items()
    }
    report("Water, PBE/def2-SVP", f, found)
    reference = KohnSham(molecule, "native:pbe", tol=1e-8).run().energy.item()
    for name, result in found.items():
        energy = hamiltonian.evaluate_matrix(density(result.state)).energy
        print(f"  {name:18} energy off by {energy - reference:8.1e} Ha")
    return found


def network(bound: float | None) -> Found:
    """Features of 32 molecules the network has not seen; it is trained on 256 others."""
    _, (train, _, test), _ = molnet.load_nci()
    model = DEQModel(
        1,
        "classification",
        bound=bound,
        learning_rate=0.01,
        batch_size=64,
        dtype="float64",
        seed=0,
        device=torch.device("cpu"),
    )
    model.fit(train.select(range(256)), nb_epoch=15)
    with torch.no_grad():
        problem = model.network.cell.problem(model.kind.batch(test.X[:32]))

        def f(z: Tensor) -> Tensor:
            return problem.step(z, *problem.params)

        found = {
            name: fixed_point(
                f,
                problem.start,
                solver=solver,
                tol=TOL,
                max_iter=LIMIT,
                fallback=False,
                segments=problem.segments,
            )
            for name, (solver, _) in SOLVERS.items()
            if solver != "diis"
        }
    report(f"DEQ, bound {bound}", f, found)
    return found


def draw(panels: dict[str, Found], path: Path) -> None:
    """Draw residuals against evaluations."""
    with plt.style.context("deepchem_dft.figures"):
        figure, axes = plt.subplots(1, len(panels), figsize=(12.5, 4.0), sharey=True)
        for axis, (title, found) in zip(axes, panels.items(), strict=True):
            for name, result in found.items():
                axis.semilogy(
                    range(1, result.evaluations + 1),
                    worst(result),
                    label=name,
                    color=SOLVERS[name][1],
                    linewidth=1.8,
                )
            axis.axhline(TOL, color="grey", linestyle=":", linewidth=1)
            axis.set(title=title, xlabel="evaluations of the map", xlim=(0, 80))
        axes[0].set(ylabel="relative residual |f(z) - z| / |f(z)|", ylim=(TOL / 5, 10))
        axes[0].legend(loc="center right", bbox_to_anchor=(1.0, 0.62), fontsize=10)
        figure.tight_layout()
        figure.savefig(path)
    print(f"\nwrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("dft_and_deq.png"))
    options = parser.parse_args()
    draw(
        {
            "Water, PBE: Fock matrix": water(),
            "DEQ without a bound: features": network(None),
            "DEQ with its default bound": network(0.9),
        },
        options.out,
    )


if __name__ == "__main__":
    main()
