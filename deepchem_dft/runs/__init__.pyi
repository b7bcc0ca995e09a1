from .config import load_config as load_config
from .loading import load_functional as load_functional
from .loading import load_model as load_model
from .pipeline import run as run
from .xc.schema import RunConfig as RunConfig
