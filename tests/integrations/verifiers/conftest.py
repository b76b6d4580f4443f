"""Facts of the partner for the table of docs/integrations.md."""

from collections.abc import Callable
from importlib.metadata import version

import pytest


@pytest.fixture(scope="session", autouse=True)
def _facts(record_testsuite_property: Callable[[str, object], None]) -> None:
    pytest.importorskip("verifiers.v1", reason="needs verifiers: pip install 'steptool-env[verifiers]'")
    record_testsuite_property("partner", "verifiers")
    record_testsuite_property("versions", f"verifiers {version('verifiers')}")
    record_testsuite_property(
        "runs", "`vf-eval steptool-toolworld`: task set, environment, rewards and metrics, over a real endpoint"
    )
    record_testsuite_property(
        "drops",
        "a trace has one number per reward, the sum of the steps; the step rewards are in `trace.info`, which no "
        "algorithm of its own reads",
    )
