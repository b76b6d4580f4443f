"""The published figures of BFCL are those of the installed package."""

import json

import pytest

from benchmarks.bfcl.tasks import categories, splits
from benchmarks.harness.report import RESULTS


@pytest.mark.slow
@pytest.mark.usefixtures("bfcl")
def test_the_published_tables_can_be_made_again() -> None:
    published = json.loads((RESULTS / "bfcl.json").read_text())["tables"]
    assert {"Tasks": categories(), "Splits": splits()} == {name: published[name] for name in ("Tasks", "Splits")}
