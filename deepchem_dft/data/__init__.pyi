from .density_files import make_densities as make_densities
from .entry import (
    ENERGY_TYPES as ENERGY_TYPES,
)
from .entry import (
    ENTRY_TYPES as ENTRY_TYPES,
)
from .entry import (
    DFTEntry as DFTEntry,
)
from .featurizer import DFTFeaturizer as DFTFeaturizer
from .loader import (
    DFTYamlLoader as DFTYamlLoader,
)
from .loader import (
    arrays as arrays,
)
from .reader import (
    check as check,
)
from .reader import (
    read_yaml as read_yaml,
)
from .system import DFTSystem as DFTSystem
