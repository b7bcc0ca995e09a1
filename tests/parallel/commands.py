"""The command line under torchrun; afterwards torchrun may be asked to lose a process.

Usage under torchrun: commands.py [--lose RANK STEP] COMMAND...
With ``--lose``, that process dies by SIGKILL after that optimiser step, once. Several commands may
be given, divided by ``+``. With ``--refused`` first, each must be, and its message is printed.
"""

import os
import signal
import sys

from deepchem_dft.cli import app, main
from deepchem_dft.cli.processes import one_of_several
from deepchem_dft.errors import InputError


def lose(rank: int, step: int) -> None:
    from deepchem_dft.models.xc.training import Trainer

    usual = Trainer.after_step

    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"

    def after_step(self):
        usual(self)
        if first and int(os.environ["RANK"]) == rank and self.model._global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    Trainer.after_step = after_step


def several(words: list[str], refused: bool = False) -> None:
    """Run commands one after the other in the same processes: starting takes longest."""
    with one_of_several():
        while words:
            end = words.index("+") if "+" in words else len(words)
            try:
                app(words[:end], standalone_mode=False)
                assert not refused, words
            except InputError as error:
                if not refused:
                    raise
                print(error)
            words = words[end + 1 :]
        sys.exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "--lose":
        lose(int(sys.argv[2]), int(sys.argv[3]))
        del sys.argv[1:4]
        main()
    elif sys.argv[1] == "--refused":
        several(sys.argv[2:], refused=True)
    else:
        several(sys.argv[1:])
