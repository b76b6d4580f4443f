"""Facts of the partner for the table of docs/integrations.md."""

from collections.abc import Callable
from importlib.metadata import version

import pytest


@pytest.fixture(scope="session", autouse=True)
def _facts(record_testsuite_property: Callable[[str, object], None]) -> None:
    pytest.importorskip("verl", reason="needs verl: pip install 'steptool-env[verl]'")
    record_testsuite_property("partner", "verl")
    record_testsuite_property(
        "versions", ", ".join(f"{name} {version(name)}" for name in ("verl", "transformers", "torch"))
    )
    record_testsuite_property(
        "runs",
        "verl's `AgentLoopWorker` with the agent loop `steptool` and a scripted model server, its reward loop worker, "
        "`compute_advantage` with the estimator `steptool_step_grpo`; its trainer needs GPUs and was not run",
    )
    record_testsuite_property(
        "drops",
        "nothing in the trainer of 0.9, which reads a reward per token; the trainer before it "
        "(`trainer.use_v1=False`) keeps the sum alone",
    )
