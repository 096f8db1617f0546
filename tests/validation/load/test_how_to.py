"""The example of docs/how-to/validate-files.md does what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "how-to" / "validate-files.md"


def test_the_example_of_loading_runs(tmp_path: Path) -> None:
    example = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    script = tmp_path / "example.py"
    script.write_text(example)
    # The page's example runs from the root of the project, as a reader would do.
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); exec(open({str(script)!r}).read())",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "csv 2 ['id', 'name', 'age']"
    assert lines[1] == "Rejected(line=3, column=3, reason='2 fields instead of 3')"
    assert lines[-1] == "{'id': [1, 3], 'name': ['Ann', 'Cy'], 'age': ['31', 'x']}"
