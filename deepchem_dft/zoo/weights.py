"""Weights on disk: safetensors, read once into memory, judged, and only then given to a module."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deepchem_dft.errors import CheckpointError, FunctionalError

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
