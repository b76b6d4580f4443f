"""Facts of the partner for the table of docs/integrations.md."""

from collections.abc import Callable
from importlib.metadata import version

import pytest


@pytest.fixture(scope="session", autouse=True)
def _facts(record_testsuite_property: Callable[[str, object], None]) -> None:
    pytest.importorskip("openenv.core", reason="needs openenv: pip install 'steptool-env[openenv]'")
    record_testsuite_property("partner", "OpenEnv")
    record_testsuite_property(
        "versions", ", ".join(f"{name} {version(name)}" for name in ("openenv", "mcp", "fastmcp"))
    )
    record_testsuite_property(
        "runs",
        "`steptool serve-openenv`, texts and MCP tools; `EnvClient`, `GenericEnvClient`, `MCPToolClient`, the task "
        "API, `openenv validate --url`",
    )
    record_testsuite_property(
        "drops",
        "nothing on the wire: a reward per step, terms and hindsight rewards in `metadata`; most trainers that read "
        "OpenEnv sum the rewards of an episode",
    )
