from . import (
    dynamics as dynamics,
)
from . import (
    eigen as eigen,
)
from . import (
    kernel as kernel,
)
from . import (
    mapping as mapping,
)
from . import (
    operator as operator,
)
from . import (
    plot as plot,
)
from . import (
    progress as progress,
)
from . import (
    record as record,
)
from . import (
    report as report,
)
from . import (
    task as task,
)
from . import (
    trainer as trainer,
)
from .prediction import predict as predict
from .validation import psnr as psnr
from .validation import validate as validate
