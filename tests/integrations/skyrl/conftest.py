"""Facts of the partner for the table of docs/integrations.md."""

from collections.abc import Callable
from importlib.metadata import version

import pytest


@pytest.fixture(scope="session", autouse=True)
def _facts(record_testsuite_property: Callable[[str, object], None]) -> None:
    pytest.importorskip("skyrl_gym", reason="needs skyrl-gym: pip install 'steptool-env[skyrl]'")
    record_testsuite_property("partner", "SkyRL-Gym")
    record_testsuite_property("versions", f"skyrl-gym {version('skyrl-gym')}")
    record_testsuite_property(
        "runs", "`steptool` in SkyRL-Gym's registry: `make`, `init`, `step`, `get_metrics`, its metric aggregation"
    )
    record_testsuite_property(
        "drops",
        "nothing with its default generator, which spreads step rewards over tokens (read from its source; SkyRL needs "
        "GPUs); its step-wise mode keeps the last reward alone",
    )
