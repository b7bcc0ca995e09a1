from .base import load_functional as load_functional
from .base import load_model as load_model
from .config import load_config as load_config
from .pipeline import run as run
from .xc.schema import RunConfig as RunConfig
