"""What a HamiltonianModel is trained for: matrices, orbital energies, self-consistency."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.reference import Reference
from deepchem_dft.models.hamiltonian.samples import Batch, Prepared

#: Hartree. Gaps below this are taken for this in gradients of the density matrix: what the weights
#: of an untrained network do to a molecule should not drown the rest.
_SMALL_GAP = 0.02


@dataclass(frozen=True)
class HamiltonianLoss:
    r"""The loss of each molecule, of errors in units of ``unit``.

    .. math::

        w_1 \overline{|\Delta H|} + w_2 \overline{\Delta H^2} + w_3 \overline{|\Delta\epsilon|}
        + w_4 \overline{R^2}, \quad
        R = S^{-1/2} (F[D] D S - S D F[D]) S^{-1/2}

    with means over the elements of a molecule's matrix, over its occupied orbitals and the lowest
    empty one, and over elements of the commutator. D is the density matrix of the predicted matrix
    and F[D] the Kohn-Sham matrix of that density: at self-consistency they commute, and no label is
    needed to say so. It determines the density matrix, not the orbital energies.

    Parameters
    ----------
    mae_weight, mse_weight, orbital_weight, commutator_weight : float
        w_1 to w_4.
    unit : float
        Hartree.

    Raises
    ------
    InputError
        For negative weights, or none at all.
    """

    mae_weight: float = 1.0
    mse_weight: float = 1.0
    orbital_weight: float = 0.0
    commutator_weight: float = 0.0
    unit: float = 1e-3

    def __post_init__(self) -> None:
        weights = (self.mae_weight, self.mse_weight, self.orbital_weight, self.commutator_weight)
        if not min(weights) >= 0 or not 0 < sum(weights) < float("inf"):
            raise InputError(
                f"the weights of the loss are {weights}",
                field="mae_weight",
                remedy="use numbers of at least 0, one of them positive",
            )
        if not self.unit > 0:
            raise InputError(
                f"the unit is {self.unit}", field="unit", remedy="use a positive number, Hartree"
            )

    @property
    def needs_labels(self) -> bool:
        """Whether samples without a Hamiltonian would teach nothing."""
        return self.commutator_weight == 0

    def __call__(self, batch: Batch, elements: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and mean absolute error of H (Hartree) of each molecule.

        Parameters
        ----------
        batch : Batch
        elements : Tensor, shape (P,), Hartree
            Of the blocks, as the network predicts them.

        Returns
        -------
        Tensor, Tensor
            Shape (B,). The error is nan where there is no label, and both cover the elements that
            the network predicts, which leaves out pairs of atoms beyond the cutoff.
        """
        graph, samples = batch.graph, batch.samples
        labelled = torch.tensor([s.label is not None for s in samples], device=elements.device)
        error = elements - batch.together("label")[graph.place]
        count = torch.tensor([n * n for n in graph.nao], device=error.device)

        def mean(values: Tensor) -> Tensor:
            return values.new_zeros(len(samples)).index_add(0, graph.owner, values) / count

        size = error.abs()
        mae = mean(size)
        loss = self.mae_weight / self.unit * mae
        if self.mse_weight:
            loss = loss + self.mse_weight / self.unit**2 * mean(size.square())
        loss = torch.where(labelled, loss, torch.zeros_like(loss))
        if self.orbital_weight or self.commutator_weight:
            loss = loss + torch.stack(
                [
                    self._of_orbitals(sample, matrix)
                    for sample, matrix in zip(samples, batch.matrices(elements))
                ]
            )
        return loss, torch.where(labelled, mae.detach(), torch.nan)

    def _of_orbitals(self, sample: Prepared, matrix: Tensor) -> Tensor:
        x = sample.orthogonal.to(matrix.device)
        whitened, loss = x @ matrix @ x, matrix.new_zeros(())
        if self.orbital_weight and sample.label is not None:
            count = sample.n_occupied + 1  # the lowest empty one, if there is any
            energies = torch.linalg.eigvalsh(whitened)[:count]
            error = energies - sample.orbital_energies.to(matrix.device)[:count]
            loss = loss + self.orbital_weight / self.unit * error.abs().mean()
        if self.commutator_weight:
            density: Tensor = _Density.apply(whitened, sample.n_occupied)
            fock = x @ _Fock.apply(x @ density @ x, sample.reference) @ x
            residual = fock @ density - density @ fock
            loss = loss + self.commutator_weight / self.unit**2 * residual.square().mean()
        return loss


class _Density(torch.autograd.Function):
    """Density matrix of the lowest orbitals, in an orthonormal basis.

    Autograd of eigenvectors divides by the gaps of all orbitals; those among occupied ones, and
    among empty ones, drop out of the density matrix, and here they are never divided by.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, occupied: int) -> Tensor:
        energies, orbitals = torch.linalg.eigh(matrix)
        ctx.save_for_backward(energies, orbitals)
        ctx.occupied = occupied
        filled = orbitals[:, :occupied]
        return 2.0 * filled @ filled.mT

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        energies, orbitals = ctx.saved_tensors
        n, gradient = ctx.occupied, 0.5 * (gradients[0] + gradients[0].mT)
        filled, empty = orbitals[:, :n], orbitals[:, n:]
        gaps = (energies[n:] - energies[:n, None]).clamp_min(_SMALL_GAP)
        half = filled @ ((filled.mT @ gradient @ empty) / -gaps) @ empty.mT
        return 2.0 * (half + half.mT), None


class _Fock(torch.autograd.Function):
    """Kohn-Sham matrix of a density matrix."""

    @staticmethod
    def forward(ctx: Any, density: Tensor, reference: Reference) -> Tensor:
        ctx.reference, ctx.density = reference, density.detach().cpu().numpy()
        return _tensor(reference.fock(ctx.density), density)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = 0.5 * (gradients[0] + gradients[0].mT)
        change = ctx.reference.response(ctx.density, gradient.cpu().numpy())
        return _tensor(change, gradient), None


def _tensor(array: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(array).to(like)
