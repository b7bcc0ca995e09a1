"""States of any structure as one real matrix with a row per sample, and back."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from deepchem_dft.errors import InputError


class Packing:
    """How a state is laid out in a matrix, so that solvers only ever see matrices.

    Parameters
    ----------
    state : Tensor or nested dict, list or tuple of Tensor
        The leading dimension of every tensor counts samples, or rows that ``segments`` assigns.
    segments : Tensor of int, shape (N,), or the same structure as ``state``, optional
        The sample each row belongs to, in any order. Samples with fewer rows than the largest
        are padded with zeros.
    samples : int, optional
        How many there are, if the last ones may have no rows; else taken from ``segments``.

    Raises
    ------
    InputError
        If the state is not made of floating-point tensors with as many rows as expected.

    Examples
    --------
    >>> nodes = torch.tensor([[1., 2.], [3., 4.], [5., 6.]])
    >>> packing = Packing(nodes, segments=torch.tensor([0, 1, 0]))
    >>> packing.pack(nodes)
    tensor([[1., 2., 5., 6.],
            [3., 4., 0., 0.]])
    >>> packing.unpack(packing.pack(nodes)).equal(nodes)
    True
    """

    def __init__(self, state: Any, segments: Any = None, samples: int | None = None) -> None:
        leaves, self._structure = tree_flatten(state)
        self._check(leaves)
        self._shapes = [leaf.shape for leaf in leaves]
        self._dtypes = [leaf.dtype for leaf in leaves]
        #: Type of the matrix: at least single precision, which linear algebra needs.
        self.dtype = torch.float32
        for leaf in leaves:
            self.dtype = torch.promote_types(self.dtype, leaf.real.dtype)
        #: Machine precision of the coarsest part of the state.
        self.eps = max(torch.finfo(dtype).eps for dtype in self._dtypes)
        #: Relative residuals below this are rounding. Accelerated solvers take normal maps to one
        #: unit of it; what is computed in single precision anyway, half precision, to less.
        self.rounding = max(
            max(torch.finfo(dtype).eps, 4.0 * torch.finfo(torch.promote_types(dtype, torch.float32)).eps)
            for dtype in self._dtypes
        )
        self._rows: list[_Rows | None] = [None] * len(leaves)
        if segments is None:
            self.samples = leaves[0].shape[0]
        else:
            groups, structure = tree_flatten(segments)
            if isinstance(segments, Tensor):
                groups = [segments] * len(leaves)
            elif structure != self._structure:
                raise InputError(
                    "segments are structured differently from the state",
                    field="segments",
                    remedy="give one tensor, or one per tensor",
                )
            self.samples = _count(groups) if samples is None else samples
            self._rows = [
                _Rows(group, leaf.shape[0], self.samples) for group, leaf in zip(groups, leaves, strict=True)
            ]
        for leaf, rows in zip(leaves, self._rows, strict=True):
            if rows is None and leaf.shape[0] != self.samples:
                raise InputError(
                    f"the state's tensors have {self.samples} and {leaf.shape[0]} rows",
                    field="z0",
                    remedy="every tensor needs the batch as its leading dimension; "
                    "say with segments which sample each row of a graph belongs to",
                )

        # The usual case, one real tensor with a row per sample, should cost nothing.
        self._plain = isinstance(state, Tensor) and segments is None and state.dtype is self.dtype

    @staticmethod
    def _check(leaves: list[Any]) -> None:
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                raise InputError(
                    f"the state holds a {type(leaf).__name__}",
                    field="z0",
                    remedy="states are tensors, or dicts, lists and tuples of them",
                )
            if not (leaf.is_floating_point() or leaf.is_complex()) or leaf.dim() == 0:
                raise InputError(
                    f"the state holds a {leaf.dim()}-dimensional tensor of {leaf.dtype}",
                    field="z0",
                    remedy="floating-point tensors with a leading batch dimension",
                )
        if not leaves:
            raise InputError("the state is empty", field="z0", remedy="give at least one tensor")

    def pack(self, state: Any) -> Tensor:
        """Return a real matrix, shape (B, D), of a state; differentiable.

        Raises
        ------
        InputError
            If the state is structured or shaped differently from the first one.
        """
        if (
            self._plain
            and isinstance(state, Tensor)
            and state.shape == self._shapes[0]
            and not state.is_complex()
        ):
            return (state.flatten(1) if state.dim() > 1 else state[:, None]).to(self.dtype)
        leaves, structure = tree_flatten(state)
        if structure != self._structure:
            raise InputError(
                "the map returned another structure than it was given",
                field="f",
                remedy="f(z) must look like z: same keys, same order",
            )
        columns = []
        for leaf, shape, dtype, rows in zip(leaves, self._shapes, self._dtypes, self._rows, strict=True):
            if not isinstance(leaf, Tensor):
                raise InputError(
                    f"the map returned a {type(leaf).__name__} for a tensor",
                    field="f",
                    remedy="f(z) must look like z",
                )
            if leaf.shape != shape:
                raise InputError(
                    f"the map turned a tensor of shape {tuple(shape)} into {tuple(leaf.shape)}",
                    field="f",
                    remedy="f(z) must have the shape of z",
                )
            if leaf.is_complex() and not dtype.is_complex:
                raise InputError(
                    "the map turned a real tensor into a complex one",
                    field="f",
                    remedy="start from a complex z0, or return a real tensor",
                )
            matrix = _matrix(leaf.to(dtype) if dtype.is_complex else leaf, self.dtype)
            columns.append(matrix if rows is None else rows.spread(matrix))
        return columns[0] if len(columns) == 1 else torch.cat(columns, 1)

    def pack_error(self, error: Any) -> Tensor:
        """Return a real matrix, shape (B, E), of an error of the user's own; differentiable.

        Raises
        ------
        InputError
            If it is not a tensor with a row per sample.
        """
        if not isinstance(error, Tensor) or error.dim() == 0 or len(error) != self.samples:
            found = (
                f"a tensor of shape {tuple(error.shape)}"
                if isinstance(error, Tensor)
                else f"a {type(error).__name__}"
            )
            raise InputError(
                f"error returned {found} for {self.samples} samples",
                field="error",
                remedy=f"one tensor of shape ({self.samples}, ...): a row per sample",
            )
        return _matrix(error, self.dtype)

    def unpack(self, matrix: Tensor) -> Any:
        """Return the state that a matrix of shape (B, D) holds; differentiable."""
        if self._plain:
            return matrix.reshape(self._shapes[0])
        leaves, start = [], 0
        for shape, dtype, rows in zip(self._shapes, self._dtypes, self._rows, strict=True):
            width = shape[1:].numel() * (2 if dtype.is_complex else 1)
            length = width if rows is None else width * rows.longest
            part = matrix[:, start : start + length]
            start += length
            if rows is not None:
                part = rows.gather(part, width)
            if dtype.is_complex:
                part = torch.view_as_complex(part.reshape(*shape, 2).contiguous())
            leaves.append(part.reshape(shape).to(dtype))
        return tree_unflatten(leaves, self._structure)

    @property
    def numel(self) -> int:
        """Real numbers in the state, padding not counted."""
        return sum(
            shape.numel() * (2 if dtype.is_complex else 1)
            for shape, dtype in zip(self._shapes, self._dtypes, strict=True)
        )


def _matrix(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor as a real matrix with the same rows."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.reshape(len(tensor), tensor.shape[1:].numel()).to(dtype)


def _count(groups: list[Tensor]) -> int:
    return max((int(group.max()) + 1 for group in groups if group.numel()), default=0)


class _Rows:
    """Where each row of one tensor goes: to a sample, and to a place within it."""

    def __init__(self, group: Tensor, rows: int, samples: int) -> None:
        if (
            group.dim() != 1
            or len(group) != rows
            or group.is_floating_point()
            or (rows and not 0 <= int(group.min()) <= int(group.max()) < samples)
        ):
            raise InputError(
                f"segments do not assign {rows} rows to samples 0 to {samples - 1}",
                field="segments",
                remedy="one whole number per row, counting samples from 0",
            )
        group = group.long()
        counts = torch.bincount(group, minlength=samples)
        self.longest = int(counts.max()) if rows else 0
        self.samples = samples
        order = torch.argsort(group, stable=True)
        first = counts.cumsum(0) - counts
        place = torch.empty_like(group)
        place[order] = torch.arange(rows, device=group.device) - first[group[order]]
        self._slots = group * self.longest + place

    def spread(self, matrix: Tensor) -> Tensor:
        empty = matrix.new_zeros(self.samples * self.longest, matrix.shape[1])
        return empty.index_copy(0, self._slots, matrix).reshape(self.samples, self.longest * matrix.shape[1])

    def gather(self, part: Tensor, width: int) -> Tensor:
        return part.reshape(self.samples * self.longest, width)[self._slots]
