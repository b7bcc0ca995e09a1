"""Initial weights of a KSRModel: one set per seed, tried one after the other."""

from collections.abc import Sequence

from torch import nn

from deepchem_dft.errors import InputError
from deepchem_dft.fitting.options import FitOptions
from deepchem_dft.lattice.functionals import LatticeFunctional, make_functional
from deepchem_dft.models.ksr.progress import KSRProgress


class KSRSeeds:
    """The part of ``KSRModel`` that makes functionals; its methods belong to that class."""

    _built: bool
    _seeds: int | Sequence[int] | None

    def _ensure_built(self) -> None:
        if not self._built and not list(self.functional.parameters()):  # the uniform gas
            self._built, self._global_step = True, 0
            self._pytorch_optimizer = self._lr_schedule = None
        super()._ensure_built()

    def _make(self, seed: int) -> LatticeFunctional:
        recipe, options = self._recipe, dict(self._options)
        if callable(recipe) and not isinstance(recipe, nn.Module):
            recipe = recipe(seed)
        if isinstance(recipe, LatticeFunctional):
            if recipe.grid != self._grid or recipe.polarised != options["polarised"]:
                raise InputError(
                    "the functional is for another grid or treatment of spin",
                    field="functional",
                    remedy="give the model the functional's grid and polarised",
                )
            return recipe
        if recipe != "uniform-gas":
            options["seed"] = seed
        return make_functional(recipe, self._grid, **options)

    def _begin(self, options: FitOptions) -> None:
        """Start a new run: on the present weights, or on the first seed's."""
        seeds = self._seeds
        if seeds is None:
            self.progress = KSRProgress(history=self.history, seed=self.seed)
            return
        chosen = list(range(self.seed, self.seed + seeds)) if isinstance(seeds, int) else [*seeds]
        if not chosen:
            raise InputError("there are no seeds", field="seeds", remedy="use 1 or more")
        if isinstance(self._recipe, nn.Module) and len(chosen) > 1:
            raise InputError(
                "a network has one set of initial weights",
                field="seeds",
                remedy="give the model a function of the seed that returns a network",
            )
        self.progress = KSRProgress(seed=chosen[0], seeds_left=chosen[1:])
        self.start_seed(chosen[0])

    def start_seed(self, seed: int) -> None:
        """Take the initial weights of a seed."""
        if not isinstance(self._recipe, nn.Module):
            self.functional.load_state_dict(self._make(seed).state_dict())
        self.new_optimizer()
        old = self.progress
        self.progress = KSRProgress(
            history=old.history, best=old.best, seed=seed, seeds_left=old.seeds_left, failures=old.failures
        )

    def new_optimizer(self) -> None:
        """Forget what DeepChem's optimiser has learned of the gradients."""
        self._ensure_built()
        step, self._built = self._global_step, False
        self._ensure_built()
        self._global_step = step
