from .engine import run_dqc as run_dqc
