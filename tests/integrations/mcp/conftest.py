"""Facts of the partner for the table of docs/integrations.md."""

from collections.abc import Callable
from importlib.metadata import version

import pytest


@pytest.fixture(scope="session", autouse=True)
def _facts(record_testsuite_property: Callable[[str, object], None]) -> None:
    pytest.importorskip("mcp_types", reason="needs mcp 2: pip install 'steptool-env[mcp]'")
    pytest.importorskip("fastmcp", reason="needs fastmcp, which `make test-integrations` installs")
    record_testsuite_property("partner", "MCP")
    record_testsuite_property("versions", ", ".join(f"{name} {version(name)}" for name in ("mcp", "fastmcp")))
    record_testsuite_property(
        "runs",
        "`toolserver serve --mcp` (streamable HTTP) and `steptool mcp` (stdio); the official client, by the protocol "
        "of 2026-07-28 and by the handshake of 2025, and fastmcp's",
    )
    record_testsuite_property(
        "drops",
        "nothing on the wire; most hosts show their model the text of a result alone, and have no place for a reward",
    )
