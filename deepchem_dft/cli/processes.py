"""What the command line does when torchrun started several of it: one voice, one ending."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deepchem_dft import parallel
from deepchem_dft.sinks import printable

_remedy = ""


class Terminated(BaseException):
    """SIGTERM, which torchrun sends to the processes that are left when one is lost.

    Not an ``Exception``, so that nothing on the way takes it for a fault it could mend.
    """


@contextmanager
def one_of_several() -> Iterator[None]:
    """Join the other processes if there are any, and let process 0 alone speak."""
    if not parallel.launched():
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    if parallel.rank():
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    try:
        yield
    except SystemExit as end:
        if not end.code:
            parallel.leave()
        raise
    except Exception:
        # What is to be said has happened; torchrun, which ends us for the same reason, must not cut it short.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise


def remedy_if_terminated(text: str) -> None:
    """Set what to do if SIGTERM ends this process, whatever it is doing then."""
    global _remedy
    _remedy = text


def report(message: str) -> None:
    """Tell the user of the error that ends this process, unless another one has told of its own."""
    sys.stdout.flush()
    if parallel.first_to_report():
        print(printable(message), file=sys.__stderr__ if parallel.rank() else sys.stderr)


def _terminate(number: int, frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    raise Terminated(
        f"{parallel.activity()}: ended by SIGTERM, as torchrun ends all processes when one is "
        f"lost. The newest checkpoint is whole.{_remedy}"
    )
