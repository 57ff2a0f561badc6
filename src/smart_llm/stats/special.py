"""The special functions of scipy that are used here, without the layer around them.

`import scipy.special` also builds what other array libraries need, and loads numpy's test tools and its Fortran
compiler on the way: .17 s of CPU, a fifth of a small run. The compiled functions are in a module of their own that
needs none of it, and they are the same objects. It is loaded with an empty package in place of the real one, which is
there again when that is done; since another thread could meet the empty one, only where there is no other thread. In
any other case, and where scipy keeps the functions elsewhere, it is the usual import.
"""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

PACKAGE, COMPILED = "scipy.special", "scipy.special._ufuncs"


def _functions() -> ModuleType:
    """The module that has them."""
    scipy = find_spec("scipy")
    if PACKAGE in sys.modules or threading.active_count() > 1 or scipy is None:
        return import_module(PACKAGE)
    empty = ModuleType(PACKAGE)
    empty.__path__ = [f"{place}/special" for place in scipy.submodule_search_locations or ()]
    sys.modules[PACKAGE] = empty
    try:
        found = import_module(COMPILED)
    except ImportError:
        found = None
    finally:
        del sys.modules[PACKAGE]
    return found if found is not None and all(hasattr(found, name) for name in __all__) else import_module(PACKAGE)


__all__ = [
    "bdtr",
    "bdtrik",
    "betainc",
    "betaincinv",
    "betaln",
    "expit",
    "gammaincinv",
    "gammaln",
    "ndtr",
    "ndtri",
    "xlog1py",
    "xlogy",
]

if TYPE_CHECKING:
    from scipy.special import (
        bdtr,
        bdtrik,
        betainc,
        betaincinv,
        betaln,
        expit,
        gammaincinv,
        gammaln,
        ndtr,
        ndtri,
        xlog1py,
        xlogy,
    )
else:
    source = _functions()
    globals().update({name: getattr(source, name) for name in __all__})
