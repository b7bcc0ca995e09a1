"""HamiltonianModel: a DeepChem model that predicts Kohn-Sham matrices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from deepchem.data import Dataset
from deepchem.models.torch_models.torch_model import TorchModel
from torch import Tensor

from deepchem_dft.checks import choice
from deepchem_dft.equilibrium import Adjoint, Solver
from deepchem_dft.equilibrium.adjoints import get_adjoint
from deepchem_dft.equilibrium.solvers import get_solver
from deepchem_dft.errors import InputError
from deepchem_dft.fitting.checkpointed import plain_part
from deepchem_dft.fitting.options import UNCONVERGED, arguments_of, only_deepchems
from deepchem_dft.hamiltonian.elements import Elements
from deepchem_dft.hamiltonian.forms import Form, Search
from deepchem_dft.hamiltonian.network import HamiltonianNetwork
from deepchem_dft.hamiltonian.reference import GUESSES
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.models.hamiltonian.files import HamiltonianFiles
from deepchem_dft.models.hamiltonian.fitting import HamiltonianFitting
from deepchem_dft.models.hamiltonian.loss import HamiltonianLoss
from deepchem_dft.models.hamiltonian.network import HamiltonianModule
from deepchem_dft.models.hamiltonian.predicting import HamiltonianPredicting, named
from deepchem_dft.models.hamiltonian.samples import INPUTS, Preparation, elements_of
from deepchem_dft.models.hamiltonian.training import FusedAdam, HamiltonianProgress
from deepchem_dft.molecule.geometry import NUCLEAR_CHARGE
from deepchem_dft.torchstate import unaffected
from deepchem_dft.xc.libxc import Libxc


@unaffected
class HamiltonianModel(HamiltonianPredicting, HamiltonianFiles, HamiltonianFitting, TorchModel):
    """Predict the converged Kohn-Sham matrix of molecules with an equivariant network.

    From the matrix follow orbitals, density matrix, gap and dipole without a self-consistent
    field, and a start that saves most of its iterations. Molecules of different sizes may be mixed
    in a batch. Data sets hold `HamiltonianSample` objects in ``X``, as
    :func:`~deepchem_dft.molnet.load_hamiltonian` and its siblings make them.

    Parameters
    ----------
    elements : sequence of str or int
        All elements that will ever occur; see also `for_data`.
    basis : str
        One for all molecules, with functions up to f.
    xc : str
        The functional, in PySCF's spelling.
    form : {"direct", "delta", "equilibrium", "equilibrium-delta"}
        What the network predicts: the matrix, or its difference to the guess, which is far easier
        to learn; and whether that is fed back until it is self-consistent.
    guess : {"minao", "sap"}
        Kohn-Sham matrix of superposed atomic densities, or core Hamiltonian with superposed atomic
        potentials, which needs neither electron repulsion integrals nor quadrature.
    inputs : sequence of {"overlap", "core", "guess"}
        Matrices that the network sees, at least one.
    width, layers, hidden : int
        Channels, rounds of messages, width of the networks of invariants.
    cutoff : float
        Bohr; pairs of atoms further apart keep the guess.
    n_radial : int
        Radial functions.
    feedback_width : int
        Channels of what is fed back, in equilibrium forms.
    bound : float or None
        Slope of the feedback at most; below 1 there is exactly one fixed point, whatever the
        weights. None: no bound; watch ``unconverged`` in the history.
    solver : {"anderson", "broyden", "damped"} or Solver
    adjoint : {"implicit", "truncated", "unrolled"} or Adjoint
    tol, train_tol : float, optional
        Relative residual of a fixed point; default 1e-5 and 1e-4, in float64 1e-10 for both.
    max_iter : int
        Evaluations of the feedback at most.
    mae_weight, mse_weight, orbital_weight, commutator_weight, unit
        See :class:`~deepchem_dft.models.HamiltonianLoss`. With ``commutator_weight``, samples
        without Hamiltonian teach as well.
    warmup : int
        Steps over which the learning rate rises.
    decay : float
        The rate falls like (1 - t)^decay over a training; 0: not at all.
    ema : float
        Share of the old in averages of the parameters, which are what predicts; 0: no averages.
    max_grad_norm : float, optional
        Longer gradients are cut: the first are a thousand times as long as later ones, and Adam
        would remember them for as many steps.
    dtype : {"float32", "float64"}
        Of the network; matrices are put together in float64 either way.
    grid_level : int
        Quadrature of guesses, energies and commutators.
    on_unconverged : {"warn", "raise", "nan"}
        What prediction does about fixed points that were not found.
    seed : int
        Of initial weights and order of samples.
    batch_size : int
    learning_rate : float or LearningRateSchedule
        A schedule of DeepChem's takes the place of ``warmup`` and ``decay``.
    **kwargs
        ``model_dir``, ``optimizer`` (DeepChem's, instead of Adam), ``device``,
        ``regularization_loss``...: as in ``deepchem.models.TorchModel``.

    Attributes
    ----------
    history : list of HamiltonianEpoch
        One per epoch, also after a resume.

    Raises
    ------
    InputError
        For arguments that describe no model, and data that do not fit it.

    Examples
    --------
    >>> import deepchem as dc
    >>> from deepchem_dft.hamiltonian.reference import Reference
    >>> samples = []
    >>> for r in (1.3, 1.4, 1.6):
    ...     bare = HamiltonianSample([1, 1], [[0, 0, 0], [0, 0, r]], "sto-3g", xc="pbe")
    ...     solved = Reference(bare).solve().hamiltonian
    ...     samples.append(HamiltonianSample(bare.numbers, bare.positions, "sto-3g", solved))
    >>> dataset = dc.data.NumpyDataset(samples)
    >>> model = HamiltonianModel(["H"], "sto-3g", width=4, hidden=8, warmup=5)
    >>> loss = model.fit(dataset, nb_epoch=60)
    >>> new = HamiltonianSample([1, 1], [[0, 0, 0], [0, 0, 1.5]], "sto-3g")
    >>> prediction = model.predict_properties([new])[0]
    >>> prediction.hamiltonian.shape, prediction.converged, prediction.homo_lumo_gap > 0.3
    ((2, 2), True, True)

    References
    ----------
    Z. Wang et al., Infusing Self-Consistency into Density Functional Theory Hamiltonian Prediction
    via Deep Equilibrium Models, NeurIPS 37 (2024).
    """

    def __init__(
        self,
        elements: Sequence[str | int],
        basis: str = "def2-svp",
        xc: str = "pbe",
        form: str = "delta",
        *,
        guess: str = "minao",
        inputs: Sequence[str] = INPUTS,
        width: int = 32,
        layers: int = 2,
        hidden: int = 128,
        cutoff: float = 15.0,
        n_radial: int = 16,
        feedback_width: int = 16,
        bound: float | None = 0.9,
        solver: str | Solver = "anderson",
        adjoint: str | Adjoint = "implicit",
        tol: float | None = None,
        train_tol: float | None = None,
        max_iter: int = 50,
        mae_weight: float = 1.0,
        mse_weight: float = 1.0,
        orbital_weight: float = 0.0,
        commutator_weight: float = 0.0,
        unit: float = 1e-3,
        warmup: int = 100,
        decay: float = 1.0,
        ema: float = 0.99,
        max_grad_norm: float | None = 50.0,
        dtype: str = "float32",
        grid_level: int = 3,
        on_unconverged: str = "warn",
        seed: int = 0,
        batch_size: int = 16,
        learning_rate: Any = 3e-3,
        **kwargs: Any,
    ) -> None:
        arguments = arguments_of(locals())
        only_deepchems(self, kwargs)
        inputs = tuple(inputs)
        choice(guess, GUESSES, "guess")
        choice(dtype, ("float32", "float64"), "dtype")
        choice(on_unconverged, UNCONVERGED, "on_unconverged")
        for one in inputs:
            choice(one, INPUTS, "inputs")
        if not inputs or len(set(inputs)) != len(inputs):
            raise InputError(
                f"the inputs are {list(inputs)}",
                field="inputs",
                remedy=f"name some of {', '.join(INPUTS)}, each once",
            )
        for value, name in ((batch_size, "batch_size"), (width, "width"), (layers + 1, "layers")):
            if value < 1:
                raise InputError(f"{name} is too small", field=name)
        if not (0 <= ema < 1 and decay >= 0 and cutoff > 0):
            raise InputError(
                f"ema={ema}, decay={decay}, cutoff={cutoff} are not possible",
                field="ema",
                remedy="use 0 <= ema < 1, decay >= 0, cutoff > 0",
            )
        get_solver(solver)
        get_adjoint(adjoint)
        Libxc(xc)
        chosen, numbers = Form.of(form), sorted({_number(element) for element in elements})
        self.hamiltonian_loss = HamiltonianLoss(
            mae_weight, mse_weight, orbital_weight, commutator_weight, unit
        )
        single = dtype == "float32"
        self.tol = (1e-5 if single else 1e-10) if tol is None else tol
        self.train_tol = max(self.tol, 1e-4 if single else 1e-10) if train_tol is None else (train_tol)
        self.form, self.warmup, self.decay, self.ema = form, warmup, decay, ema
        self.max_grad_norm, self.on_unconverged, self.seed = max_grad_norm, on_unconverged, seed
        self.config = plain_part({**arguments, "elements": numbers, "inputs": inputs})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = HamiltonianNetwork(
                Elements(tuple(numbers), basis),
                len(inputs),
                width=width,
                layers=layers,
                hidden=hidden,
                cutoff=cutoff,
                n_radial=n_radial,
                dtype=getattr(torch, dtype),
            )
            module = HamiltonianModule(
                network,
                feedback_width if chosen.equilibrium else None,
                bound,
                Search(solver, adjoint, self.tol, max_iter),
            )
        self.preparation = Preparation(network, xc, guess, inputs, chosen.delta, grid_level, module.dtype)
        self.progress, self.training = HamiltonianProgress(), False
        if kwargs.get("optimizer") is None:
            kwargs["optimizer"] = FusedAdam(learning_rate)
        super().__init__(module, _unused, batch_size=batch_size, learning_rate=learning_rate, **kwargs)

    @classmethod
    def for_data(cls, dataset: Dataset | Iterable[HamiltonianSample], **options: Any) -> Any:
        """Return a model for the elements, basis and functional of data.

        Parameters
        ----------
        dataset : Dataset or sequence of HamiltonianSample
        **options
            Arguments of the constructor.
        """
        samples = [sample for sample, _ in named(dataset)]
        if not samples:
            raise InputError("the data set is empty", field="dataset")
        basis = options.pop("basis", samples[0].basis)
        xc = options.pop("xc", None) or next((s.xc for s in samples if s.xc), "pbe")
        return cls(elements_of(samples, basis).numbers, basis, xc, **options)

    # -- what it is ----------------------------------------------------------------------------

    @property
    def network(self) -> HamiltonianNetwork:
        """The equivariant network."""
        return self.model.network


def _number(element: str | int) -> int:
    if isinstance(element, str):
        if element.capitalize() not in NUCLEAR_CHARGE:
            raise InputError(f"there is no element {element!r}", field="elements")
        return NUCLEAR_CHARGE[element.capitalize()]
    return int(element)


def _unused(outputs: list, labels: list, weights: list) -> Tensor:
    """Stand-in for the base class, whose own training loop is not used."""
    return outputs[0].sum()
