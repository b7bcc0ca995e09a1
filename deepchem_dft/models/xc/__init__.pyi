from .dftxc import DFTXC as DFTXC
from .losses import EntryLoss as EntryLoss
from .model import XCModel as XCModel
from .progress import EpochReport as EpochReport
from .stages import Stage as Stage
