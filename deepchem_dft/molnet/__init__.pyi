from .hamiltonians import (
    load_hamiltonian as load_hamiltonian,
)
from .hamiltonians import (
    load_md17_hamiltonian as load_md17_hamiltonian,
)
from .hamiltonians import (
    load_qh9 as load_qh9,
)
from .ksr import load_ksr as load_ksr
from .labelled import (
    load_labelled as load_labelled,
)
from .labelled import (
    load_nci as load_nci,
)
from .location import datasets_dir as datasets_dir
from .properties import (
    load_oqmd as load_oqmd,
)
from .properties import (
    load_qmof as load_qmof,
)
from .properties import (
    load_qmugs as load_qmugs,
)
from .sets import (
    load_atomic_ea as load_atomic_ea,
)
from .sets import (
    load_atomic_ip as load_atomic_ip,
)
from .sets import (
    load_atomic_total_energy as load_atomic_total_energy,
)
from .sets import (
    load_barriers as load_barriers,
)
from .sets import (
    load_h2_curve as load_h2_curve,
)
from .sets import (
    load_molecular_ip as load_molecular_ip,
)
from .sets import (
    load_molecular_vip as load_molecular_vip,
)
from .sets import (
    load_w411 as load_w411,
)
from .sets import (
    load_xcnn as load_xcnn,
)
from .splitter import PublishedSplitter as PublishedSplitter
