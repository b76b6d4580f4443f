"""Facts of the partner for the table of docs/integrations.md."""

from collections.abc import Callable
from importlib.metadata import version

import pytest


@pytest.fixture(scope="session", autouse=True)
def _facts(record_testsuite_property: Callable[[str, object], None]) -> None:
    pytest.importorskip("trl", reason="needs TRL: pip install 'steptool-env[trl]'")
    record_testsuite_property("partner", "TRL")
    record_testsuite_property(
        "versions", ", ".join(f"{name} {version(name)}" for name in ("trl", "transformers", "torch"))
    )
    record_testsuite_property(
        "runs",
        "`GRPOTrainer` with `toolworld_environment` (native tools, a class per set of functions), and "
        "`StepGRPOTrainer`; three steps of training of a tiny Qwen3",
    )
    record_testsuite_property(
        "drops",
        "`GRPOTrainer` sums the rewards of an episode; `StepGRPOTrainer` gives each turn its own advantage. Calls of "
        "functions that are not offered reach no environment",
    )
