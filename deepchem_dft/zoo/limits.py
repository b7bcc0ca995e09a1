"""What building a form may take: no more memory than its weights on disk call for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from deepchem_dft.errors import InputError

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
