"""Facts of the partner for the table of docs/integrations.md."""

from collections.abc import Callable
from importlib.metadata import version

import pytest


@pytest.fixture(scope="session", autouse=True)
def _facts(record_testsuite_property: Callable[[str, object], None]) -> None:
    pytest.importorskip("inspect_ai", reason="needs Inspect: pip install 'steptool-env[inspect]'")
    record_testsuite_property("partner", "Inspect")
    record_testsuite_property("versions", f"inspect_ai {version('inspect_ai')}")
    record_testsuite_property(
        "runs", "`steptool export inspect`; `read_eval_log`, `inspect log dump`, `inspect view` in Chromium"
    )
    record_testsuite_property(
        "drops",
        "nothing in the log: a score per step, and the list of them per sample; Inspect's own totals are means of one "
        "number per sample, here verdict and return",
    )
