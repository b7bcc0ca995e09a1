from .model import DEQModel as DEQModel
from .training import DEQEpoch as DEQEpoch
