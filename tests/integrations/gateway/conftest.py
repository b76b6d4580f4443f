"""Facts of the partners for the table of docs/integrations.md."""

from collections.abc import Callable
from importlib.metadata import distributions, version

import pytest

from tests.integrations.gateway.players import APART


@pytest.fixture(scope="session", autouse=True)
def _facts(record_testsuite_property: Callable[[str, object], None]) -> None:
    pytest.importorskip("openai", reason="needs openai, which `make test-integrations` installs")
    pytest.importorskip("langgraph", reason="needs langgraph, which `make test-integrations` installs")
    apart = [each.version for each in distributions(path=[str(APART)]) if each.name == "openai-agents"]
    names = ("openai", "langgraph", "langchain-openai")
    known = [f"{name} {version(name)}" for name in names] + [f"openai-agents {each}" for each in apart]
    record_testsuite_property("partner", "Agents over OpenAI's API")
    record_testsuite_property("versions", ", ".join(known))
    record_testsuite_property(
        "runs",
        "`steptool serve-policy` and `steptool train --rollout.harness`; OpenAI's client, an agent of OpenAI's Agents "
        "SDK with MCP tools, LangGraph's ReAct agent; training through the last",
    )
    record_testsuite_property(
        "drops", "nothing: tokens, log-probabilities and step rewards are recorded on our side of the wire"
    )
