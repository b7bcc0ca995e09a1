"""A device that is not there: tensors that claim another one, and hold their numbers on the CPU.

They refuse, as CUDA would, to be mixed with others.
"""

from contextlib import contextmanager

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

ELSEWHERE = torch.device("meta")  # a device every build of torch knows, and no tensor lives on
# What CUDA does between devices: copies, and indices that may come from the CPU.
_MIXING = {
    "aten::copy_",
    "aten::_to_copy",
    "aten::index",
    "aten::index_put",
    "aten::index_put_",
    "aten::_index_put_impl_",
}


class Away(Tensor):
    """A tensor on the stand-in device."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), dtype=inner.dtype, device=ELSEWHERE
        )

    def __init__(self, inner):
        self.inner = inner

    def __repr__(self):
        return f"Away({self.inner!r})"

    def __reduce_ex__(self, protocol):  # into a checkpoint
        return self.inner.detach().__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class SparseAway:
    """A sparse matrix on the stand-in device: torch has no wrapper for one."""

    def __init__(self, inner):
        self.inner = inner

    def coalesce(self):
        return SparseAway(self.inner.coalesce())

    def to_sparse_csr(self):
        return SparseAway(self.inner.to_sparse_csr())

    def __matmul__(self, other):
        if not isinstance(other, Away):
            raise RuntimeError("expected all tensors to be on the same device, in a sparse product")
        return Away(self.inner @ other.inner)


def unwrapped(tree):
    return tree_map(lambda x: x.inner if isinstance(x, Away) else x, tree)


def _run(func, args, kwargs):
    name = func._schema.name
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    away = [isinstance(x, Away) for x in tensors]
    for tensor, is_away in zip(tensors, away, strict=True):
        assert is_away or tensor.device != ELSEWHERE, f"{func} made numbers disappear"
        if any(away) and not is_away and tensor.dim() > 0 and name not in _MIXING:
            raise RuntimeError(f"expected all tensors to be on the same device, in {func}")
    wrap = any(away)
    if kwargs.get("device") is not None:
        wrap = torch.device(kwargs["device"]) == ELSEWHERE
        kwargs = {**kwargs, "device": torch.device("cpu")}
    out = func(*unwrapped(args), **unwrapped(kwargs))
    if name.endswith("_") and func._schema.is_mutable:
        return None if out is None else args[0]
    if "out" in kwargs:
        return kwargs["out"]
    return tree_map(lambda x: Away(x) if isinstance(x, Tensor) else x, out) if wrap else out


class _Factories(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """Python numbers to tensors: torch would leave them out on this device."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if (
            func in (torch.tensor, torch.as_tensor)
            and kwargs.get("device") is not None
            and (torch.device(kwargs["device"]) == ELSEWHERE)
        ):
            return Away(func(*args, **{**kwargs, "device": "cpu"}))
        if func is torch.sparse_coo_tensor and any(isinstance(x, Away) for x in args):
            assert all(isinstance(x, Away) for x in args[:2]), "indices and values on two devices"
            return SparseAway(func(*unwrapped(args), **kwargs))
        if func is torch.Tensor.new_tensor and isinstance(args[0], Away):
            return Away(args[0].inner.new_tensor(*args[1:], **kwargs))
        if func is torch.Tensor.tolist and isinstance(args[0], Away):
            return args[0].inner.tolist()
        if func is torch.Tensor.__getitem__ and isinstance(args[1], list):
            args = (args[0], torch.tensor(args[1]))
        return func(*args, **kwargs)


@contextmanager
def stand_in():
    """Within, torch has the stand-in device."""
    with _Factories(), _Literals():
        yield
