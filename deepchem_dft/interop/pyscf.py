"""Any functional of this package in PySCF's own programs: SCF, forces, Hessian, TDDFT, solvent."""

import copy
from functools import cache
from typing import Any

import numpy as np
import pyscf
from pyscf import dft, gto

from deepchem_dft.errors import InputError
from deepchem_dft.interop.numint import FunctionalLibrary, FunctionalNumInt, check_restricted
from deepchem_dft.interop.pickling import class_of, recipe_of
from deepchem_dft.molecule import Molecule
from deepchem_dft.torchstate import unaffected
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.dispersion import Nuclei
from deepchem_dft.xc.libxc import Libxc
from deepchem_dft.xc.names import get_xc

__all__ = ["to_pyscf"]

#: Whether this PySCF takes a dispersion with the parameters of another functional, "d3bj:pbe".
BORROWS_DISPERSION = tuple(map(int, pyscf.__version__.split(".")[:2])) >= (2, 13)


@unaffected
def to_pyscf(mf: Any, functional: str | XCFunctional) -> Any:
    """Return a PySCF mean-field object that runs a functional of this package.

    All that PySCF builds on top of a mean field then works as it does with PySCF's functionals:
    ``nuc_grad_method()`` (with the response of the grid, so that forces are exact derivatives of
    the energy), ``Hessian()`` (invariant to a motion of the whole molecule, which mends most of
    what leaving that response out does to it), ``TDA()`` and ``TDDFT()``, ``newton()``,
    ``density_fit()``, ``PCM()``, dispersion (the functional's own, or through ``mf.disp``) and geometry
    optimisation.

    Parameters
    ----------
    mf : pyscf RKS, UKS or ROKS, pyscf.gto.Mole, or Molecule
        A mean-field object lends its settings and is not changed itself. From a molecule one is
        made: RKS for closed shells if the functional is spin-symmetric, UKS otherwise. A
        ``Molecule`` also lends its grid level, its density fitting and its surroundings.
    functional : str or XCFunctional
        Used as it is whenever PySCF asks: weights that are trained further change it here too.

    Returns
    -------
    mean-field object
        Not yet run, on PySCF's grid of its own ``grids.level``. Its ``xc`` is a label; to run
        another functional, make another object.

    Raises
    ------
    InputError
        For an object that cannot take a functional: Hartree-Fock, generalised, relativistic,
        periodic, already of second order, or on a GPU.
    FunctionalError
        For a functional that cannot be: unknown, not spin-symmetric in a restricted calculation,
        or with more than one range of exact exchange, which PySCF does not have.

    Notes
    -----
    Derivatives up to the third order come from autograd, in the variables PySCF works with: the
    spin densities, their gradients and tau. Parts from libxc bring their own. Functionals with parts
    that see the whole quadrature have energies and forces; what needs second derivatives (Hessian,
    excitations, ``newton()``, stability) refuses them by name.

    References
    ----------
    Sun et al., J. Chem. Phys. 153, 024109 (2020).

    Examples
    --------
    >>> from pyscf import gto
    >>> mol = gto.M(atom="H 0 0 0; H 0 0 0.74", basis="sto-3g", verbose=0)
    >>> mf = to_pyscf(mol, "native:pbe")
    >>> round(float(mf.kernel()), 3), mf.nuc_grad_method().kernel().shape
    (-1.152, (2, 3))
    """
    functional = get_xc(functional)
    library = FunctionalLibrary(functional)
    surroundings = None
    if isinstance(mf, Molecule):
        surroundings = mf.surroundings
        mf = _from_molecule(mf, functional)
    elif isinstance(mf, gto.Mole) and not hasattr(mf, "lattice_vectors"):
        closed = mf.spin == 0 and functional.spin_symmetric
        mf = dft.RKS(mf) if closed else dft.UKS(mf)
    _check_mean_field(mf)
    if isinstance(mf, dft.rks.RKS):
        check_restricted(functional)
    adapted = mf.copy()
    adapted.grids = copy.copy(mf.grids)  # or a new geometry of one would be that of the other
    adapted._numint = FunctionalNumInt(functional, library)
    adapted.xc = library.label
    if hasattr(adapted, "small_rho_cutoff"):  # before 2.12 PySCF drops points of small density
        adapted.small_rho_cutoff = 0.0
    adapted.converged, adapted.e_tot = False, 0
    adapted.mo_energy = adapted.mo_coeff = adapted.mo_occ = None  # those of another functional
    adapted = _adapt(adapted)
    if surroundings is not None:
        from deepchem_dft.interop.embedding import embed

        return embed(adapted, surroundings)
    return adapted


def _check_mean_field(mf: Any) -> None:
    remedy = "pass dft.RKS(mol), dft.UKS(mol), dft.ROKS(mol), or the molecule itself"
    module = type(mf).__module__
    problem = None
    if module.startswith("gpu4pyscf"):
        problem = "GPU4PySCF evaluates functionals in kernels of its own, without this adapter"
        remedy = "pass mf.to_cpu(); the functional itself runs on the device of its parameters"
    elif module.startswith("pyscf.pbc") or hasattr(mf, "cell") or hasattr(mf, "lattice_vectors"):
        problem = "periodic systems are not supported"
    elif not isinstance(mf, dft.rks.KohnShamDFT):
        problem = f"a {type(mf).__name__} is no Kohn-Sham calculation of PySCF's"
    elif not isinstance(mf, (dft.rks.RKS, dft.uks.UKS, dft.roks.ROKS)):
        problem = f"{type(mf).__name__} is not supported, only RKS, UKS and ROKS are"
    elif hasattr(mf, "_scf"):
        problem = "the calculation is already of second order"
        remedy = "write to_pyscf(mf, functional).newton()"
    elif mf._numint.omega is not None:
        problem = "omega is set, but the range separation belongs to the functional"
        remedy = "leave mf.omega alone"
    if problem:
        raise InputError(problem, field="mf", remedy=remedy)


def _from_molecule(molecule: Molecule, functional: XCFunctional) -> Any:
    whole = all(float(n).is_integer() for n in molecule.nelec)
    if molecule.occupations is not None or not whole:
        raise InputError(
            f"PySCF cannot occupy the orbitals of {molecule.name} as asked",
            field="mf",
            remedy="use KohnSham for fractional electrons",
        )
    mol = molecule.pyscf_mol.copy()
    mol.charge, mol.spin = int(molecule.charge), int(molecule.spin)
    mol.build(dump_input=False, parse_arg=False)
    mf = dft.RKS(mol) if mol.spin == 0 and functional.spin_symmetric else dft.UKS(mol)
    mf.grids.level = molecule.grid_level
    if molecule.fitting is not None:
        mf = mf.density_fit(auxbasis=molecule.fitting.data)
    return mf


# -- what PySCF asks of a mean field -----------------------------------------------------------


class _Adapted:
    """Mixed in before a class of PySCF's; the functional itself is in ``_numint``."""

    mol: Any
    xc: str
    disp: Any
    scf_summary: dict[str, float]
    _numint: Any

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _reduced(self)

    def nuc_grad_method(self) -> Any:
        """Forces, with the response of the grid: exact derivatives of the energy."""
        gradients = super().nuc_grad_method()  # type: ignore[misc]
        gradients.grid_response = True
        plain: Any = type(gradients)
        gradients.__class__ = _mixed(_OfAdapted, plain)
        return gradients

    Gradients = nuc_grad_method

    def Hessian(self) -> Any:
        """Second derivatives, which do not change when the whole molecule is moved."""
        hessian = super().Hessian()  # type: ignore[misc]
        plain: Any = type(hessian)
        hessian.__class__ = _mixed(_Invariant, plain)
        return hessian

    def density_fit(self, *args: Any, **kwargs: Any) -> Any:
        """Fit the density, as PySCF does."""
        # PySCF looks up the kind of functional by name, only to choose a fitting basis.
        hybrid = self._numint.libxc.is_hybrid_xc(self.xc)
        return self._extended("density_fit", "pbe0" if hybrid else "pbe", args, kwargs)

    def newton(self, *args: Any, **kwargs: Any) -> Any:
        """Converge in second order, as PySCF does."""
        return self._extended("newton", self.xc, args, kwargs)

    def _extended(self, method: str, xc: str, args: tuple, kwargs: dict) -> Any:
        """Call a method that mixes in another class, with this one staying on top."""
        label, (first, *others) = self.xc, type(self).__bases__
        on_top = first is _Adapted  # or PySCF has put a solvent above, which has to stay there
        below: Any = others[0] if on_top else type(self)
        plain = below.__new__(below)
        plain.__dict__.update(self.__dict__, xc=xc)
        extended = getattr(plain if on_top else super(_Adapted, plain), method)(*args, **kwargs)
        extended.xc = plain.xc = label
        if on_top:
            _adapt(plain)  # a solver of second order asks this one for its energy
        return _adapt(extended) if on_top else extended

    def to_gpu(self) -> Any:
        """Not offered, see :func:`to_pyscf`."""
        return self._numint.to_gpu()

    def do_disp(self, disp: Any = None) -> bool:
        """Tell whether there is a dispersion energy, and refuse one without parameters."""
        self._check_dispersion(disp)
        return self._has_dispersion or super().do_disp(disp)  # type: ignore[misc]

    def get_dispersion(self, disp: Any = None, *args: Any, **kwargs: Any) -> float:
        """Return the dispersion energy, Ha: of the functional, or that of ``disp``."""
        self._check_dispersion(disp)
        if self._has_dispersion:
            energy = self._numint.functional.dispersion_at([nuclei_of(self.mol)])()[0]
            self.scf_summary["dispersion"] = float(energy.detach())
            return self.scf_summary["dispersion"]
        return super().get_dispersion(disp, *args, **kwargs)  # type: ignore[misc]

    @property
    def _has_dispersion(self) -> bool:
        return bool(self._numint.functional.dispersion_terms)

    def _check_dispersion(self, disp: Any) -> None:
        disp = self.disp if disp is None else disp
        named = isinstance(self._numint.functional, Libxc)
        if not disp:
            return
        if self._has_dispersion:
            raise InputError(
                f"dispersion '{disp}' would be added to that of the functional",
                field="disp",
                remedy="leave mf.disp alone, or adapt the functional without its dispersion",
            )
        if not named and ":" not in str(disp):
            raise InputError(
                f"dispersion '{disp}' has no parameters for a functional of your own",
                field="disp",
                remedy=f"say whose to use, e.g. mf.disp = '{disp}:pbe'"
                + ("" if BORROWS_DISPERSION else ", with PySCF 2.13 or newer"),
            )
        if ":" in str(disp) and not BORROWS_DISPERSION:
            raise InputError(
                f"PySCF {pyscf.__version__} cannot borrow dispersion '{disp}'",
                field="disp",
                remedy="use PySCF 2.13 or newer, or add pyscf-dispersion's energy yourself",
            )


class _OfAdapted:
    """Mixed in before a class of derivatives of PySCF's: what is the functional's own.

    That is its dispersion, and what the nonlocal parts of the functional add to forces.
    """

    base: Any
    mol: Any
    _nonlocal_gradient: np.ndarray | None = None

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _reduced(self)

    def get_veff(self, mol: Any = None, dm: Any = None) -> Any:
        """Return the derivative of the potential matrix, without nonlocal parts of the functional."""
        own, matrices = self.base._numint, self.base.make_rdm1() if dm is None else dm
        if own.nonlocal_parts is not None:
            mol = self.mol if mol is None else mol
            both = np.asarray(matrices)
            self._nonlocal_gradient = own.nonlocal_parts.gradient(
                mol, self.base.grids, both[None] if both.ndim == 2 else both
            )
        with own.adding_nonlocal_parts():  # in extra_force
            return super().get_veff(mol, dm)  # type: ignore[misc]

    def extra_force(self, atom_id: int, envs: Any) -> Any:
        """Return what is to be added to an atom's gradient, Ha/Bohr: that of nonlocal parts as well."""
        found = super().extra_force(atom_id, envs)  # type: ignore[misc]
        return found if self._nonlocal_gradient is None else found + self._nonlocal_gradient[atom_id]

    def get_dispersion(self, disp: Any = None, *args: Any, **kwargs: Any) -> np.ndarray:
        """Return the derivative of the dispersion energy, Ha/Bohr, shape (natom, 3)."""
        if not self.base._has_dispersion:
            return super().get_dispersion(disp, *args, **kwargs)  # type: ignore[misc]
        return self._over_atoms(self.base._numint.functional.dispersion_gradient)

    def _over_atoms(self, derivative: Any) -> np.ndarray:
        """Return a derivative by positions; ghost atoms, which have no dispersion, as zero."""
        real = np.flatnonzero(_numbers_of(self.mol))
        found = np.asarray(derivative(nuclei_of(self.mol)))
        if len(found.shape) == 2:
            whole = np.zeros((self.mol.natm, 3))
            whole[real] = found
        else:
            whole = np.zeros((self.mol.natm, self.mol.natm, 3, 3))
            whole[np.ix_(real, real)] = found
        return whole


class _Invariant(_OfAdapted):
    """Mixed in before a class of Hessians of PySCF's: mends what the grid's rest does to them.

    PySCF differentiates with the quadrature at rest. The force of an atom on itself then has an
    error that is large where its own core moves against the points around it: for a meta-GGA as
    much as a fifth of a force constant (grid level 3). Blocks of two atoms hardly have it, and as
    a molecule that is moved as a whole feels nothing, they say what the blocks of one atom are.
    """

    mol: Any
    atmlst: Any
    de: np.ndarray

    def get_dispersion(self, disp: Any = None, *args: Any, **kwargs: Any) -> np.ndarray:
        """Return second derivatives of the dispersion energy, Ha/Bohr^2, shape (A, B, 3, 3)."""
        if not self.base._has_dispersion:
            return super(_OfAdapted, self).get_dispersion(disp, *args, **kwargs)  # type: ignore[misc]
        return self._over_atoms(self.base._numint.functional.dispersion_hessian)

    def kernel(
        self,
        mo_energy: Any = None,
        mo_coeff: Any = None,
        mo_occ: Any = None,
        atmlst: Any = None,
        **options: Any,
    ) -> np.ndarray:
        """Return d2E / dA dB of the atoms asked for, Ha/Bohr^2, shape (A, B, 3, 3)."""
        wanted = self.atmlst if atmlst is None else atmlst
        everything = range(self.mol.natm)  # the others too: they are what is summed
        hessian = super().kernel(  # type: ignore[misc]
            mo_energy, mo_coeff, mo_occ, atmlst=everything, **options
        )
        for atom in everything:
            own = hessian[atom, atom] - hessian[atom].sum(0)
            hessian[atom, atom] = (own + own.T) / 2
        self.atmlst = wanted
        self.de = hessian[np.ix_(wanted, wanted)]
        return self.de

    hess = kernel


def _numbers_of(mol: Any) -> np.ndarray:
    return np.array([gto.charge(mol.atom_symbol(atom)) for atom in range(mol.natm)])


def nuclei_of(mol: Any) -> Nuclei:
    """Return the nuclei of a molecule of PySCF's, without ghost atoms."""
    numbers = _numbers_of(mol)
    return Nuclei.of(numbers[numbers > 0].tolist(), mol.atom_coords()[numbers > 0], float(mol.charge))


def _reduced(made: Any) -> tuple:
    """Return what pickle is to keep: no module has such classes under their names."""
    state = made.__getstate__()
    # files of this process, and methods that were put on an object
    return _blank, (recipe_of(type(made)),), {k: v for k, v in state.items() if k != "_chkfile"}


def _blank(recipe: tuple) -> Any:
    cls: Any = class_of(recipe, _mixed, (_Adapted, _OfAdapted, _Invariant))
    return cls.__new__(cls)


@cache
def _mixed(mixin: type, cls: Any) -> type:
    # the name is that of PySCF's class, which PySCF's messages and its own mixins build on
    return cls if issubclass(cls, mixin) else type(cls.__name__, (mixin, cls), {"__module__": cls.__module__})


def _adapt(mf: Any) -> Any:
    plain: Any = type(mf)
    mf.__class__ = _mixed(_Adapted, plain)
    return mf
