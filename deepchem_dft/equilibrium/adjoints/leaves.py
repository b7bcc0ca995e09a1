"""What a map depends on beyond its arguments, and gradients that stop where they should."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from deepchem_dft.errors import InputError


def captured_leaves(image: Tensor, known: Sequence[Tensor]) -> list[Tensor]:
    """Return trainable tensors in the graph of ``image`` that are not among the known ones."""
    seen: set[Any] = set()
    found: dict[int, Tensor] = {}
    if image.is_leaf and not any(image is tensor for tensor in known):
        return [image]
    todo = [image.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and not any(leaf is tensor for tensor in known):
            found[id(leaf)] = leaf
        todo += [following for following, _ in node.next_functions]
    return list(found.values())


class GradientSwitch:
    """Passes a tensor on, and its gradient back unless closed.

    A fixed point depends on the same weights as the map. Where only the map's direct dependence on
    them is asked for, gradients must not run on through the fixed point: they would for ever.
    """

    def __init__(self) -> None:
        self._open = True

    def __call__(self, tensor: Tensor) -> Tensor:
        return _Switched.apply(tensor, self)

    @property
    def is_open(self) -> bool:
        """Whether gradients pass."""
        return self._open

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Let no gradient through."""
        self._open = False
        try:
            yield
        finally:
            self._open = True


class _Switched(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, switch: GradientSwitch) -> Tensor:
        ctx.switch = switch
        ctx.set_materialize_grads(False)
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> Any:  # type: ignore[override]
        return (gradient if ctx.switch.is_open else None), None


@contextmanager
def graph_freed() -> Iterator[None]:
    """Explain the error of a map that captured a tensor whose own graph is gone by now."""
    try:
        yield
    except RuntimeError as error:
        if "second time" not in str(error):
            raise
        raise InputError(
            "the map captured a tensor computed from trainable ones, and its graph has been freed",
            field="params",
            remedy="pass such tensors in params",
        ) from error
