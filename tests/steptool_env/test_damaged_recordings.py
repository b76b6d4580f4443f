"""A damaged recording ends the episode that calls it, unscored; the others of its vector step go on."""

import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from steptool_env.envs.stabletoolbench import StableToolBenchEnv, StableToolBenchVectorEnv
from steptool_env.stabletoolbench.sample import SAMPLE
from tests.toolserver.cache.test_damage import damage
from toolserver.cache import ResponseCache
from toolserver.catalog.api_schema import ToolCall, encode_body
from toolserver.testing import ServerProcess

QUERIES = str(SAMPLE / "solvable_queries" / "test_instruction" / "G1_instruction.json")


@pytest.fixture
def damaged(sample_cache: Path, tmp_path: Path) -> tuple[Path, list[str]]:
    """A cache in which the first of two recorded calls of the first task is damaged, and both as actions."""
    path = shutil.copytree(sample_cache, tmp_path / "cache")
    with closing(StableToolBenchEnv()) as env:
        env.reset(options={"task": 0})
        tools = env.episode.task.tools[:2]
    calls = [ToolCall(*tool.key, {"recorded": "here"}) for tool in tools]
    with ResponseCache(path) as cache:
        for call in calls:
            cache.put(call, encode_body("", "as recorded"))
    damage(path, calls[0])
    arguments = json.dumps(calls[0].arguments)
    return path, [f"Action: {tool.function_name}\nAction Input: {arguments}" for tool in tools]


@pytest.mark.parametrize("over_http", [False, True])
def test_the_other_episodes_of_a_vector_step_go_on(damaged: tuple[Path, list[str]], over_http: bool) -> None:
    path, (refused, good) = damaged
    with ServerProcess(["--cache", str(path), "--read-only"]) as server:
        url = server.url if over_http else None
        with closing(StableToolBenchVectorEnv(num_envs=3, server_url=url, queries=QUERIES, cache=str(path))) as envs:
            envs.reset(options={"task": 0})
            observations, rewards, _, truncated, infos = envs.step([good, refused, good])
            assert truncated.tolist() == [False, True, False]
            assert "as recorded" in observations[0]
            assert observations[0] == observations[2]
            assert rewards[1] == 0
            assert "does not match its hash" in infos["transport_error"][1]
            assert "outcome" not in infos
