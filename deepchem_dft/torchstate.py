"""Work as usual whatever defaults the caller has given torch: inference mode, device, precision."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import CodeType, FunctionType
from typing import Any, TypeVar

_WRAPPERS: set[CodeType] = set()  # of functions: one, as long as they come from one place
Wrapped = TypeVar("Wrapped", bound=Callable[..., Any])


@contextmanager
def as_usual() -> Iterator[None]:
    """Work outside inference mode, and with torch's own default device and precision.

    What is made under ``torch.inference_mode()`` can never take part in training again, and
    constants are kept. Gradients stay off where it was on. ``torch.set_default_device`` speaks of
    the caller's tensors: ours are put where the functional's parameters are. A default precision
    below single is not for numbers that become energies.

    Examples
    --------
    >>> import torch
    >>> with torch.inference_mode(), as_usual():
    ...     torch.ones(1).is_inference(), torch.is_grad_enabled()
    (False, False)
    >>> with torch.device("meta"), as_usual():
    ...     torch.ones(1).device.type
    'cpu'
    """
    import torch  # where it is used: who only asks for names does not wait for it

    precision = torch.get_default_dtype()
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if precision not in (torch.float32, torch.float64):
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, precision)
        yield


def unaffected(wrapped: Wrapped) -> Wrapped:
    """Have a function, or the constructor and every public method of a class, run :func:`as_usual`.

    For what the outside world calls, and for what makes constants that are kept. Generators are
    left alone, since they run in their reader's time.

    Examples
    --------
    >>> import torch
    >>> @unaffected
    ... def kept():
    ...     return torch.ones(1)
    >>> with torch.inference_mode():
    ...     kept().is_inference()
    False
    """
    return _class(wrapped) if inspect.isclass(wrapped) else _function(wrapped)


def _function(function: Any) -> Any:
    guard = as_usual

    def call(*args: Any, **kwargs: Any) -> Any:
        with guard():
            return function(*args, **kwargs)

    _WRAPPERS.add(call.__code__)
    # With the globals of the function, by which doctest tells whose examples it has.
    outer = FunctionType(call.__code__, function.__globals__, function.__name__, None, call.__closure__)
    return functools.wraps(function)(outer)


def stacklevel(level: int) -> int:
    """Return the ``stacklevel`` of a warning, where that of :mod:`warnings` counts wrappers too.

    Parameters
    ----------
    level : int
        1 for the function that warns, 2 for its caller, and so on.
    """
    frame, counted, real = inspect.currentframe(), 0, 0
    while real < level and frame is not None and frame.f_back is not None:
        frame, counted = frame.f_back, counted + 1
        real += frame.f_code not in _WRAPPERS
    return counted


def _class(cls: Any) -> Any:
    for name in dir(cls):
        found = inspect.getattr_static(cls, name)
        function = getattr(found, "__func__", found)
        if (
            (name.startswith("_") and name != "__init__")
            or not inspect.isfunction(function)
            or (inspect.isgeneratorfunction(function))
        ):
            continue
        kind = type(found) if isinstance(found, (classmethod, staticmethod)) else None
        setattr(cls, name, _function(function) if kind is None else kind(_function(function)))
    return cls
