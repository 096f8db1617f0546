from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def public_data() -> Path:
    """The public data sets beside the repository, where they are."""
    if not DATA.is_dir():
        pytest.skip("the public data sets are not on this machine")
    return DATA
