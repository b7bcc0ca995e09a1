"""What a network predicts, and whether its prediction is fed back: the four forms."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from deepchem_dft.checks import choice
from deepchem_dft.equilibrium import Equilibrium
from deepchem_dft.hamiltonian.expansion import Parts
from deepchem_dft.hamiltonian.feedback import Feedback
from deepchem_dft.hamiltonian.graph import Graph
from deepchem_dft.hamiltonian.network import HamiltonianNetwork
from deepchem_dft.hamiltonian.selfconsistent import Search

__all__ = ["FORMS", "EquilibriumHead", "Form", "Search"]


@dataclass(frozen=True)
class Form:
    """A form of the model.

    Attributes
    ----------
    delta : bool
        The network predicts the difference to the guess.
    equilibrium : bool
        The prediction is a fixed point.
    """

    delta: bool
    equilibrium: bool

    @staticmethod
    def of(name: str) -> "Form":
        """Return a form by its name.

        Raises
        ------
        InputError
            If there is none of that name.
        """
        return FORMS[choice(name, FORMS, "form")]


#: The forms by name.
FORMS = {
    "direct": Form(False, False),
    "delta": Form(True, False),
    "equilibrium": Form(False, True),
    "equilibrium-delta": Form(True, True),
}


class EquilibriumHead(nn.Module):
    """Make a network's prediction self-consistent: ``y = prediction + feedback(y)``.

    The feedback is a contraction, see `Feedback`: there is one fixed point, whatever the weights.
    Features of the geometry are computed once; only the feedback is iterated.
    """

    def __init__(self, network: HamiltonianNetwork, width: int, bound: float | None, search: Search) -> None:
        super().__init__()
        self.feedback = Feedback(network.elements, network.size, width, bound)
        self.search = search

    def forward(self, parts: Parts, features: Any, graph: Graph) -> tuple[Parts, Equilibrium]:
        """Return components at the fixed point."""
        groups = list(parts)
        context = self.feedback.context(features, graph)

        def step(state: list[Tensor], fixed: list[Tensor], context: Any) -> list[Tensor]:
            change = self.feedback(dict(zip(groups, state)), context, graph)
            return [a + change[group] for a, group in zip(fixed, groups)]

        fixed = [parts[group].contiguous() for group in groups]
        found = self.search(
            step,
            [part.detach() for part in fixed],
            (fixed, context),
            [graph.samples(group) for group in groups],
        )
        return dict(zip(groups, found.state)), found
