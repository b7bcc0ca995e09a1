"""Density matrix and orbital energies, differentiable in the functional's parameters."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import SCFSolution
from deepchem_dft.scf.response import OrbitalHessian, SoftModes, soft_modes, solve_response

if TYPE_CHECKING:
    from torch.nn import Parameter

# A restricted solution whose orbital gap exceeds this (Ha) is not searched for soft modes.
_WIDE_GAP = 0.15


class ResponseContext:
    """What a backward pass through a converged field needs; built when first used."""

    def __init__(self, hamiltonian: KSHamiltonian, solution: SCFSolution) -> None:
        self.hamiltonian, self.solution = hamiltonian, solution
        self._hessian: OrbitalHessian | None = None
        self._soft: SoftModes | None = None

    @property
    def parameters(self) -> "list[Parameter]":
        """Parameters of the functional that want a gradient."""
        return [p for p in self.hamiltonian.xc.parameters() if p.requires_grad]

    @property
    def hessian(self) -> OrbitalHessian:
        """Orbital Hessian at the solution."""
        if self._hessian is None:
            self._hessian = OrbitalHessian(self.hamiltonian, self.solution)
        return self._hessian

    @property
    def soft(self) -> SoftModes | None:
        """Near-zero modes that are projected out. Closed shells with a wide gap have none."""
        if self._soft is None and self._may_be_soft:
            self._soft = soft_modes(self.hessian)
        return self._soft

    @property
    def _may_be_soft(self) -> bool:
        gaps = self.hessian.gaps
        return not self.hamiltonian.restricted or (len(gaps) > 0 and float(gaps.min()) < _WIDE_GAP)

    def vector_jacobian(self, grad_density: Tensor, grad_energies: Tensor | None) -> list[Tensor]:
        """Pull gradients of density matrices and orbital energies back to the parameters."""
        hamiltonian, solution = self.hamiltonian, self.solution
        orbitals = solution.state.orbitals
        grad_density = 0.5 * (grad_density + grad_density.mT)
        explicit = torch.zeros_like(grad_density)
        if grad_energies is not None and bool((grad_energies != 0).any()):
            # First-order perturbation: d eps_i = C_i' dF C_i, with dF explicit and through D.
            explicit = (orbitals * grad_energies[:, None, :]) @ orbitals.mT
            grad_density = grad_density + hamiltonian.fock_response(explicit, self.hessian.kernel)
        right = 2.0 * self.hessian.change * self.hessian.pairs_of(grad_density)
        # tr(F dD) holds every pair twice, the residual F_ai once: hence the factor one half.
        answer = 0.5 * solve_response(self.hessian, right, self.soft)
        change = explicit - self.hessian.density_change(answer)
        return self._explicit_gradient(change)

    def _explicit_gradient(self, change: Tensor) -> list[Tensor]:
        """Gradient of tr(F_xc[theta] change) at fixed density."""
        hamiltonian, solution = self.hamiltonian, self.solution
        parameters = self.parameters
        rho_change = hamiltonian.density_of_matrix(change)
        with torch.enable_grad():
            rho = solution.evaluation.rho.detach().requires_grad_()
            energy = hamiltonian.xc_energy(rho)
            slope = torch.autograd.grad(energy, rho, create_graph=True)[0]
            directional = (slope * rho_change).sum() + hamiltonian.exchange_energy_change(
                solution.state.density_matrix(), change
            )
            gradients = torch.autograd.grad(directional, parameters, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]


class _Outputs(torch.autograd.Function):
    """Identity on the solved field, with the coupled-perturbed adjoint as its derivative."""

    @staticmethod
    def forward(ctx, context: ResponseContext, *parameters: Tensor):
        ctx.context = context
        state = context.solution.state
        return state.density_matrix(), context.solution.energies.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_density, grad_energies):
        gradients = ctx.context.vector_jacobian(grad_density, grad_energies)
        return (None, *gradients)


def differentiable_outputs(context: ResponseContext) -> tuple[Tensor, Tensor]:
    """Density matrices (nspin, nao, nao) and orbital energies (nspin, nmo) with gradients."""
    parameters = context.parameters
    if not parameters or not torch.is_grad_enabled():
        return context.solution.state.density_matrix(), context.solution.energies
    return _Outputs.apply(context, *parameters)
