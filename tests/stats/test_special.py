"""Where the special functions come from."""

import subprocess
import sys

SAME = """
import sys
from smart_llm.stats import special
early = "scipy.special" in sys.modules
import scipy.special, scipy.special._ufuncs as compiled, scipy.stats, scipy.optimize
assert all(getattr(special, name) is getattr(scipy.special, name) for name in special.__all__)
assert compiled.gammaln is special.gammaln and abs(scipy.stats.beta(2, 3).ppf(0.5) - 0.3857) < 1e-4
assert scipy.special.logsumexp([0.0, 0.0]) > 0.69
print(early)
"""
THREADED = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()\n"


def _said(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_functions_are_scipys_own() -> None:
    """They are the same objects, loaded without their package where that is safe, and the package is whole when
    somebody imports it afterwards."""
    assert _said(SAME) == "False"
    assert _said(THREADED + SAME) == "True"
    assert _said("import scipy.special\n" + SAME) == "True"
