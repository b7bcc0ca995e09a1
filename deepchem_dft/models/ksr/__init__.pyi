from .loss import KSRLoss as KSRLoss
from .loss import KSRStage as KSRStage
from .model import KSRModel as KSRModel
from .progress import KSREpoch as KSREpoch
