from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from orchestai import arms

MODULES = [path.stem for path in Path(arms.__file__).parent.glob("[a-z]*.py")] + ["sandbox"]


def test_importing_the_arms_loads_nothing_heavy() -> None:
    assert len(MODULES) > 10
    code = (
        f"import sys\nfor name in {MODULES!r}: __import__('orchestai.arms.' + name)\n"
        "print([n for n in ('torch', 'transformers', 'pandas', 'numpy', 'openai', 'aiohttp') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
