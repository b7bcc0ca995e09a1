"""Checkpoint files: written atomically, read without running code, refused when damaged."""

import io
import os
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepchem_dft import files
from deepchem_dft.errors import CheckpointError, DeepChemDFTError

#: What every checkpoint says it is; the number changes when old files can no longer be read.
FORMAT = "deepchem_dft/checkpoint/1"
_NAME = re.compile(r"^checkpoint(\d+)\.pt$")


def write(path: str | Path, content: dict[str, Any]) -> None:
    """Write ``content`` so that ``path`` is at any moment the old file or the whole new one.

    Parameters
    ----------
    path : str or Path
    content : dict
        Tensors, numbers, strings, None, and lists and dicts of them.

    Examples
    --------
    >>> import tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(os.path.join(folder, "checkpoint1.pt"), {"global_step": 3})
    ...     read(os.path.join(folder, "checkpoint1.pt"))["global_step"]
    3
    """
    raw = io.BytesIO()  # of a full disk torch's own writer says nothing that helps
    torch.save({"format": FORMAT, **content}, raw)
    files.write(path, raw.getvalue())


def read(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or not one of this package's.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise CheckpointError(f"{path}: there is no such checkpoint")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for files cut short or of another origin
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path}: the checkpoint is damaged or not a checkpoint ({reason}). "
            "Remedy: restore an older one, or remove it: then the one before it counts."
        ) from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise CheckpointError(
            f"{path}: not a checkpoint of this package (format {found!r}, expected {FORMAT!r})"
        )
    return content


@contextmanager
def understood(source: str | Path) -> Iterator[None]:
    """Raise a `CheckpointError` where a checkpoint that could be read does not hold what it should.

    Examples
    --------
    >>> with understood("a.pt"):
    ...     {}["progress"]
    Traceback (most recent call last):
    ...
    deepchem_dft.errors.CheckpointError: a.pt: ... is missing or wrong in it ('progress')...
    """
    try:
        yield
    except DeepChemDFTError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise CheckpointError(
            f"{source}: the checkpoint is damaged, something is missing or wrong in it "
            f"({str(error).splitlines()[0][:200] if str(error) else type(error).__name__}). "
            "Remedy: restore an older one, or remove it: then the one before it counts."
        ) from error


def existing(model_dir: str | Path) -> list[str]:
    """Return the checkpoints of a folder, newest first (``checkpoint1.pt`` is the newest)."""
    folder = Path(model_dir)
    if not os.path.isdir(folder):
        return []
    numbered = [(int(m.group(1)), f) for f in folder.iterdir() if (m := _NAME.match(f.name))]
    return [str(file) for _, file in sorted(numbered)]


def newest(source: str | Path) -> str:
    """Return ``source`` if it is a file, or the newest checkpoint in it if it is a folder.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    if os.path.isfile(source):
        return str(source)
    found = existing(source)
    if not found:
        what = "no checkpoint found" if os.path.isdir(source) else "no such file or folder"
        raise CheckpointError(f"{source}: {what}. Remedy: train first, or check the path.")
    return found[0]


def parameters_of(
    source: Any, device: Any, *, checkpoint: str | None = None, model_dir: str | None = None
) -> tuple[dict[str, Any], str]:
    """Return the parameters of a checkpoint, or of another model, and what to call the source.

    Parameters
    ----------
    source : str, Path or Model
        A checkpoint, a folder of them, or a model, which is restored first where it can be.
    device : torch.device
        Where a checkpoint is read to.
    checkpoint, model_dir : str, optional
        What a model is restored from.

    Raises
    ------
    CheckpointError
        If there is nothing to load.
    """
    if isinstance(source, (str, Path)):
        label = newest(source)
        return read(label, device)["model_state_dict"], label
    if checkpoint or model_dir or source.get_checkpoints():
        source.restore(checkpoint=checkpoint, model_dir=model_dir)
    return source.model.state_dict(), "the source model"


def push(model_dir: str | Path, content: dict[str, Any], keep: int) -> None:
    """Add a newest checkpoint, renumber the others, drop those beyond ``keep``.

    The new file is complete before anything is renamed, and at every moment in between the lowest
    number that exists is the newest whole checkpoint.
    """
    folder = Path(model_dir)
    waiting = folder / "checkpoint0.pt"
    write(waiting, content)
    with files.storing(folder):
        for path in reversed(existing(folder)):
            number = int(_NAME.match(os.path.basename(path)).group(1)) + 1  # type: ignore[union-attr]
            if number > keep:
                os.remove(path)
            else:
                os.replace(path, folder / f"checkpoint{number}.pt")


def load_parameters(module: nn.Module, state: dict[str, Tensor], source: str, strict: bool = True) -> None:
    """Copy parameters into a module.

    Raises
    ------
    CheckpointError
        If names or shapes differ (names only when ``strict``); the module is then unchanged.
    """
    own = module.state_dict()
    problems = [
        f"'{name}' has shape {tuple(value.shape)} in the file, {tuple(own[name].shape)} here"
        for name, value in state.items()
        if name in own and own[name].shape != value.shape
    ]
    if strict:
        problems += [f"'{name}' is only in the file" for name in state if name not in own]
        problems += [f"'{name}' is only in this model" for name in own if name not in state]
    if problems:
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise CheckpointError(
            f"{source}: the checkpoint belongs to a different model: "
            f"{'; '.join(problems[:4])}{more}. "
            "Remedy: build the model with the network it was trained with."
        )
    module.load_state_dict(state, strict=False)


def random_state() -> dict[str, Any]:
    """Return the state of torch's, numpy's and Python's random numbers as plain data."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    version, numbers, gauss = random.getstate()
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": [
            str(kind),
            torch.from_numpy(np.asarray(keys, dtype=np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "python": [version, list(numbers), gauss],
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what :func:`random_state` returned."""
    torch.set_rng_state(state["torch"].cpu())
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
