"""Weights on disk: safetensors, judged before they are given to a module, and what they may cost."""

import hashlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from deepchem_dft.errors import CheckpointError, FunctionalError, InputError

_AGAIN = "Remedy: get the file again."
#: Bytes of a file that is read at all.
_LARGEST = 1 << 34
#: How files begin that would run code if they were read the way they want to be.
_PICKLES = (b"PK\x03\x04", *(bytes([0x80, protocol]) for protocol in range(2, 6)))


def packed_weights(path: str | Path, module: nn.Module) -> tuple[bytes, dict[str, Any]]:
    """Return the content of a file of weights, and what a card says of it.

    Returns
    -------
    bytes
    dict
        ``file``, ``sha256``, and ``parameters``: how many numbers training changes. Those that a
        form holds fixed, the weights of a sum for example, do not count.

    Raises
    ------
    FunctionalError
        If a parameter is NaN or infinite.
    """
    from safetensors.torch import save

    path, state = Path(path), module.state_dict()
    for name, tensor in state.items():
        if not _finite(tensor):
            raise FunctionalError(
                f"the parameter '{name}' is not finite",
                file=str(path),
                remedy="train it again, with a lower learning rate",
            )
    raw = save({k: v.detach().cpu().contiguous().clone() for k, v in state.items()})
    return raw, {
        "file": path.name,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "parameters": sum(p.numel() for p in module.parameters() if p.requires_grad),
    }


def read_weights(path: str | Path, sha256: str) -> dict[str, Tensor]:
    """Read tensors from a safetensors file, if it is the one with this SHA-256.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, another one, or no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(path)
    try:
        if not os.path.isfile(path):  # a device has no end
            raise OSError
        if path.stat().st_size > _LARGEST:
            raise CheckpointError(f"{path}: too large to be weights. {_AGAIN}")
        raw = path.read_bytes()
    except (OSError, ValueError):
        raise CheckpointError(
            f"{path}: there is no such file of weights. Remedy: put it beside its card."
        ) from None
    if raw.startswith(_PICKLES):  # whatever the card says of it
        raise CheckpointError(
            f"{path}: a pickle or zip archive under the name of safetensors; "
            "nothing in it was executed. Remedy: do not trust where it is from."
        )
    found = hashlib.sha256(raw).hexdigest()
    if found != sha256:
        raise CheckpointError(
            f"{path}: the SHA-256 is {found[:12]}..., the card says "
            f"{sha256[:12]}...: the file is damaged or another one. {_AGAIN}"
        )
    try:
        tensors = load(raw)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a safetensors file ({reason}). {_AGAIN}") from None
    for name, tensor in tensors.items():
        if not _finite(tensor):
            raise CheckpointError(f"{path}: '{name}' is not finite. {_AGAIN}")
    return tensors


def fill(module: nn.Module, tensors: dict[str, Tensor], path: str | Path) -> None:
    """Copy tensors into a module, which must have exactly these names, shapes and types.

    Raises
    ------
    CheckpointError
        If it has others; the module is then unchanged.
    """
    own = module.state_dict()
    problems = [f"'{name}' is not in the file" for name in own if name not in tensors]
    problems += [f"'{name}' has no place in the form" for name in tensors if name not in own]
    problems += [
        f"'{name}' is {_kind(tensors[name])} in the file and {_kind(own[name])} in the form"
        for name in own
        if name in tensors and _kind(own[name]) != _kind(tensors[name])
    ]
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(
            f"{path}: the weights do not fit the card: {'; '.join(problems[:3])}{more}. {_AGAIN}"
        )
    with torch.no_grad():
        module.load_state_dict(tensors)


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


#: Elements beside the weights that a module may make: grids, constants, copies of small tensors.
_SPARE = 1 << 23
#: Tensors a module may make for each weight it has: initial values, averages, buffers.
_COPIES = 4
#: Operations that make a tensor of a size they are told.
_FACTORIES = frozenset(
    {
        "empty",
        "empty_strided",
        "zeros",
        "ones",
        "full",
        "rand",
        "randn",
        "randint",
        "randperm",
        "arange",
        "linspace",
        "logspace",
        "eye",
        "tril_indices",
        "triu_indices",
        "new_empty",
        "new_zeros",
        "new_ones",
        "new_full",
        "new_empty_strided",
        "repeat",
        "expand",
    }
)


class BoundedTensors(TorchDispatchMode):
    """While it is entered, torch makes tensors up to a number of elements in all.

    A card is a few kilobytes, and the sizes on it are whatever somebody wrote; the weights that go
    with it are as large as their file. So the file says what a module may take, before any of it
    is allocated.

    Parameters
    ----------
    weights : int
        Elements of the tensors of the file.

    Raises
    ------
    InputError
        At the first tensor beyond that, before it is made.

    Examples
    --------
    >>> import torch
    >>> with BoundedTensors(weights=10):
    ...     torch.nn.Linear(10**5, 10**5)
    Traceback (most recent call last):
    ...
    deepchem_dft.errors.InputError: field 'form': the form is far larger than its weights...
    """

    def __init__(self, weights: int) -> None:
        super().__init__()
        self.left = _COPIES * weights + _SPARE

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func.__name__.partition(".")[0] in _FACTORIES:
            self.left -= _elements(func.__name__, args)
            if self.left < 0:
                raise InputError(
                    "the form is far larger than its weights",
                    field="form",
                    remedy="get card and weights again",
                )
        return func(*args, **(kwargs or {}))


def _elements(name: str, args: tuple) -> int:
    """Return the elements of what a factory makes: of a list of sizes, else of its numbers."""
    for arg in args:
        if isinstance(arg, (list, tuple)):
            return math.prod(max(int(n), 1) for n in arg)
    numbers = [abs(n) for n in args if isinstance(n, (int, float)) and math.isfinite(n)]
    if name.startswith("eye") and len(numbers) == 1:
        numbers *= 2
    return math.ceil(math.prod(max(n, 1) for n in numbers))
