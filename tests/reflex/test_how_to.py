"""What docs/how-to/reflex.md shows is what comes out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "reflex.md"


def test_the_example_runs_and_its_comments_hold() -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    names: dict[str, Any] = {}
    checked = 0
    for line in code.splitlines():
        statement, _, comment = line.partition("  # ")
        if re.match(r"^[a-z]+\.[a-z_.]+(?:\(.*\))?$", statement) and comment.startswith(("'", "{")):
            assert eval(statement, names) == eval(comment), line
            checked += 1
        else:
            exec(statement, names)
    assert checked == 4
