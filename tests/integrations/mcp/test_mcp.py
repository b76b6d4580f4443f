"""MCP: the official client and fastmcp's against the tool server and `steptool mcp`."""

import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import gymnasium as gym
import httpx
import pytest

pytest.importorskip("mcp_types", reason="needs mcp 2: pip install 'steptool-env[mcp]'")
pytest.importorskip("fastmcp", reason="needs fastmcp, which `make test-integrations` installs")

from fastmcp import Client as FastClient
from fastmcp.client.transports import StdioTransport
from mcp import Client, MCPError, StdioServerParameters
from mcp_types import INVALID_PARAMS

import steptool_env  # noqa: F401 - registers the environments
from agents.baselines.oracle import OracleAgent
from steptool_env.formats import make_format
from steptool_env.stabletoolbench.sample import SAMPLE
from steptool_env.trajectories.trajectories import read_trajectories
from steptool_env.types import FINISH
from tests.toolserver.serving import OSLO, OSLO_BODY, RECORDED, make_cache
from toolserver.catalog.api_schema import ToolCall
from toolserver.service.factory import build_service
from toolserver.settings import Settings
from toolserver.testing import ServerProcess

ROOT = Path(__file__).parents[3]
STATE = "steptool/state"
SPLIT = {"split": "depth-2", "format": "openai"}
KINDS = ["official", "official-2025", "fastmcp"]
each_client = pytest.mark.parametrize("kind", KINDS)


@asynccontextmanager
async def connected(kind: str, to: Any) -> AsyncIterator[Any]:
    """A client of a URL, or of a command over standard input and output."""
    if kind == "fastmcp":
        target = to if isinstance(to, str) else StdioTransport(to.command, to.args, env=to.env, keep_alive=False)
        async with FastClient(target) as fast:
            yield fast
    else:
        async with Client(to, mode="legacy" if kind == "official-2025" else "auto") as client:
            yield client


async def listed(client: Any) -> list[Any]:
    """All tools, of every page."""
    if isinstance(client, FastClient):
        return list(await client.list_tools())
    tools, cursor = [], None
    while True:
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        if (cursor := page.next_cursor) is None:
            return tools


async def called(client: Any, name: str, arguments: dict[str, Any], state: str | None = None) -> Any:
    call = client.call_tool_mcp if isinstance(client, FastClient) else client.call_tool
    return await call(name, arguments, meta=None if state is None else {STATE: state})


def text_of(result: Any) -> str:
    (content,) = result.content
    return str(content.text)


def task_command(*words: str) -> StdioServerParameters:
    arguments = ["-m", "agents.cli", "mcp", *words]
    return StdioServerParameters(command=sys.executable, args=arguments, env={"PYTHONPATH": str(ROOT)})


@pytest.fixture(scope="module")
def world() -> Iterator[ServerProcess]:
    with ServerProcess(["--world", "0", "--mcp"]) as server:
        yield server


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    cache = make_cache(tmp_path_factory.mktemp("cache"))
    with ServerProcess(["--cache", str(cache), "--read-only", "--mcp", "--workers", "2"]) as server:
        yield server


@each_client
def test_the_catalog_is_listed_in_pages_searched_and_called(kind: str, world: ServerProcess) -> None:
    service = build_service(Settings(world=0))

    async def session() -> None:
        async with connected(kind, f"{world.url}/mcp") as client:
            tools = await listed(client)
            names = [spec.function_name for spec in service.catalog]  # type: ignore[attr-defined]
            assert [tool.name for tool in tools] == ["search_functions", "call_function", *dict.fromkeys(names)]
            found = (await called(client, "search_functions", {"query": "city", "limit": 3})).structured_content
            assert len(found["functions"]) == 3
            function = found["functions"][0]
            arguments = dict.fromkeys(function["parameters"]["required"], "x")
            direct = await called(client, function["name"], arguments)
            by_name = await called(client, "call_function", {"name": function["name"], "arguments": arguments})
            spec = next(each for each in service.catalog if each.function_name == function["name"])  # type: ignore[attr-defined]
            expected = service.call(ToolCall(*spec.key, arguments))
            assert text_of(direct) == text_of(by_name) == expected.body.decode()
            assert direct.structured_content["outcome"] == str(expected.outcome)
            assert direct.is_error == (str(expected.outcome) != "ok")

    anyio.run(session)


@each_client
def test_an_address_can_name_the_functions(kind: str, recorded: ServerProcess) -> None:
    async def session() -> None:
        name = "getforecast_for_sky_watch"
        async with connected(kind, f"{recorded.url}/mcp?functions={name},{name}") as client:
            (tool,) = await listed(client)
            assert tool.name == name
            assert tool.input_schema["required"] == ["city"]
            assert text_of(await called(client, name, {"city": "Oslo"})).encode() == OSLO_BODY
            assert (await called(client, "cards_for_goal_line", {})).is_error
        async with connected(kind, f"{recorded.url}/mcp?search=only") as client:
            assert [tool.name for tool in await listed(client)] == ["search_functions", "call_function"]

    anyio.run(session)


def test_a_cursor_of_no_page_is_refused(world: ServerProcess) -> None:
    async def session() -> None:
        async with connected("official", f"{world.url}/mcp") as client:
            for cursor in ("next", "-1", "201", "9" * 5000):
                with pytest.raises(MCPError, match=f"cursor=.{cursor:.40}.*: belongs to no page; list again") as error:
                    await client.list_tools(cursor=cursor)
                assert error.value.code == INVALID_PARAMS

    anyio.run(session)


@each_client
def test_a_recorded_cache_is_served_byte_for_byte(kind: str, recorded: ServerProcess) -> None:
    async def session() -> None:
        async with connected(kind, f"{recorded.url}/mcp") as client:
            hit = await called(client, "getforecast_for_sky_watch", dict(OSLO.arguments))
            assert text_of(hit).encode() == OSLO_BODY
            assert hit.structured_content == {"outcome": "ok", "status": 0, "provenance": "recorded", "latency": 0.0}
            assert not hit.is_error
            limited = await called(client, "getforecast_for_sky_watch", dict(RECORDED[1][0].arguments))
            assert (limited.is_error, limited.structured_content["status"]) == (True, 10)
            missed = await called(client, "getforecast_for_sky_watch", {"city": "Rome"})
            assert (missed.is_error, missed.structured_content["outcome"]) == (True, "not_recorded")

    anyio.run(session)


@each_client
def test_mistakes_of_a_model_are_results_that_it_can_read(kind: str, world: ServerProcess) -> None:
    async def session() -> None:
        async with connected(kind, f"{world.url}/mcp") as client:
            unknown = await called(client, "no_such_function", {})
            assert unknown.is_error
            assert "search_functions" in text_of(unknown)
            for arguments in ({}, {"query": 5}, {"query": "a", "limit": 0}):
                assert (await called(client, "search_functions", arguments)).is_error is (arguments != {})
            for arguments in ({}, {"name": 5}, {"name": "nope"}):
                assert (await called(client, "call_function", arguments)).is_error
            tool = (await listed(client))[2].name
            for state in ("st1.forged", "æ"):
                refused = await called(client, tool, {}, state)
                assert (refused.is_error, refused.structured_content["outcome"]) == (True, "forbidden")

    anyio.run(session)


@cache
def writing_task() -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """A task whose oracle changes the state: its functions, and the oracle's calls."""
    env = gym.make("StepTool/ToolWorld-v0", split="depth-3", format="openai")
    for task in range(60):
        observation, info = env.reset(seed=0, options={"task": task, "episode_seed": 7})
        calls = oracle_calls(env, observation, info)
        if any(name.startswith(("book", "create", "order", "reserve", "register")) for name, _ in calls):
            return info, calls
    raise AssertionError("no task changes the state")


def oracle_calls(env: Any, observation: str, info: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The calls of the oracle in an episode that was just reset, which they end."""
    agent, call_format, calls = OracleAgent(), make_format("openai"), []
    agent.reset([0], [observation], [info])
    while True:
        (text,) = agent.act([0], [observation], [info])
        action = call_format.parse(text)
        calls.append((action.name, json.loads(action.arguments)))
        observation, _, terminated, truncated, info = env.step(text)
        if terminated or truncated:
            return calls


@each_client
def test_two_sessions_never_mix_and_go_on_at_another_replica(kind: str, world: ServerProcess) -> None:
    """Each answer is that of one episode alone in process, though two take turns on servers that take turns."""
    info, calls = writing_task()
    specs = {spec.function_name: spec for spec in build_service(Settings(world=0)).catalog}  # type: ignore[attr-defined]
    openings = (f"open:seed=7:task={info['task_id']}", f"open:seed=8:faults=harsh:task={info['task_id']}")

    def alone(opening: str) -> list[tuple[str, str]]:
        service, state, answers = build_service(Settings(world=0)), opening, []
        for name, arguments in (*calls[:-1], *calls[:-1]):
            call = service.codec.decode_call(ToolCall(*specs[name].key, arguments, state))  # type: ignore[union-attr]
            answer = service.call(call)  # type: ignore[arg-type]
            state = service.codec.token_of(answer.state)  # type: ignore[union-attr, arg-type]
            answers.append((answer.body.decode(), str(answer.outcome)))
        return answers

    async def session(urls: tuple[str, str]) -> list[list[tuple[str, str]]]:
        states, answers = list(openings), [[], []]  # type: ignore[var-annotated]
        async with connected(kind, f"{urls[0]}/mcp") as first, connected(kind, f"{urls[1]}/mcp") as second:
            for turn, (name, arguments) in enumerate((*calls[:-1], *calls[:-1])):
                for episode in (0, 1):
                    client = (first, second)[(turn + episode) % 2]
                    result = await called(client, name, arguments, states[episode])
                    assert result.meta[STATE] != states[episode]
                    states[episode] = result.meta[STATE]
                    answers[episode].append((text_of(result), result.structured_content["outcome"]))
        return answers

    with ServerProcess(["--world", "0", "--mcp"]) as replica:
        played = anyio.run(session, (world.url, replica.url))
    assert played == [alone(opening) for opening in openings]
    assert played[0] != played[1]


@each_client
def test_a_task_is_an_episode_with_step_rewards(kind: str, tmp_path: Path) -> None:
    env = gym.make("StepTool/ToolWorld-v0", **SPLIT)
    observation, info = env.reset(seed=0, options={"task": 5, "episode_seed": 0})
    calls = oracle_calls(env, observation, info)
    out = tmp_path / "trajectories.jsonl"

    async def session() -> list[Any]:
        async with connected(kind, task_command("--task", info["task_id"], "--out", str(out))) as client:
            assert [tool.name for tool in await listed(client)] == [each["name"] for each in info["functions"]]
            prompts = await client.list_prompts()
            assert [prompt.name for prompt in getattr(prompts, "prompts", prompts)] == ["task"]
            (message,) = (await client.get_prompt("task")).messages
            assert info["messages"][-1]["content"].strip() in message.content.text
            results = [await called(client, "no_such_function", {})]
            results += [await called(client, name, arguments) for name, arguments in calls]
            assert (await called(client, calls[0][0], calls[0][1])).is_error
            return results

    results = anyio.run(session)
    env.reset(seed=0, options={"task": 5, "episode_seed": 0})
    call_format = make_format("openai")
    for (name, arguments), result in zip([("no_such_function", {}), *calls], results, strict=True):
        observation, reward, terminated, truncated, last = env.step(call_format.render(name, arguments))
        structured = result.structured_content
        assert text_of(result) == observation
        assert (structured["reward"], structured["reward_terms"]) == (reward, last["reward_terms"])
        assert (structured["provenance"], structured["calls_left"]) == (last["provenance"], last["calls_left"])
        assert (structured["terminated"], structured["truncated"]) == (terminated, truncated)
        assert result.is_error == (last["status"] not in (0, 3, 4))
    assert structured["step_rewards"] == list(last["step_rewards"])
    assert structured["outcome"] == last["outcome"]
    assert structured["outcome"]["is_solved"] == 1
    (written,) = read_trajectories(out).trajectories
    assert written.rewards == last["step_rewards"]
    assert calls[-1][0] == FINISH


def test_rewards_can_be_kept_from_the_model() -> None:
    async def session() -> None:
        async with connected("official", task_command("--task", "w0-lite-depth-1-3", "--rewards", "meta")) as client:
            result = await called(client, "Finish", {"return_type": "give_up_and_restart"})
            assert not {"reward", "reward_terms", "step_rewards", "outcome"} & result.structured_content.keys()
            assert result.meta["steptool/scores"]["outcome"]["is_solved"] == 0

    anyio.run(session)


def test_an_unfinished_session_is_judged_and_written(tmp_path: Path) -> None:
    out = tmp_path / "trajectories.jsonl"

    async def session() -> None:
        async with connected("official", task_command("--task", "w0-lite-depth-1-3", "--out", str(out))) as client:
            await called(client, "nothing", {})

    anyio.run(session)
    anyio.run(session)
    for trajectory in read_trajectories(out).trajectories:
        assert (trajectory.truncated, len(trajectory.steps)) == (True, 1)
        assert trajectory.metadata["outcome"]["is_solved"] == 0
    assert len(read_trajectories(out).trajectories) == 2


def test_tasks_side_by_side_never_mix_and_outlive_their_tool_server() -> None:
    """Two processes share a server, which is replaced by another one in the middle of their episodes."""
    info, calls = writing_task()
    server = ServerProcess(["--world", "0"])

    async def session() -> list[str]:
        words = ("--task", info["task_id"], "--server-url", server.url)
        texts = []
        async with (
            connected("official", task_command(*words, "--seed", "7")) as one,
            connected("fastmcp", task_command(*words, "--seed", "9", "--env-args", "faults=harsh")) as two,
        ):
            for turn, (name, arguments) in enumerate(calls):
                if turn == 1:
                    port = int(server.url.rpartition(":")[2])
                    await anyio.to_thread.run_sync(server.close)
                    replica = ServerProcess(["--world", "0"], port=port)
                    await anyio.to_thread.run_sync(replica.__enter__)
                    server.close = replica.close  # type: ignore[method-assign]
                result = await called(one, name, arguments)
                texts.append(text_of(result))
                await called(two, calls[0][0], calls[0][1])
            assert result.structured_content["outcome"]["is_solved"] == 1
        return texts

    with server:
        texts = anyio.run(session)
    env = gym.make("StepTool/ToolWorld-v0", split="depth-3", format="openai")
    env.reset(seed=0, options={"task": info["task_id"], "episode_seed": 7})
    render = make_format("openai").render
    assert texts == [env.step(render(name, arguments))[0] for name, arguments in calls]


def test_a_recorded_task_is_served_the_same_way() -> None:
    suite = ["--env", "StepTool/StableToolBench-v0", "--task", "0"]

    async def session() -> None:
        async with connected("official", task_command(*suite)) as client:
            tools = await listed(client)
            assert tools[-1].name == FINISH
            answer = {"return_type": "give_answer", "final_answer": "It is so."}
            result = await called(client, FINISH, answer)
            assert "step_rewards" in result.structured_content

    assert SAMPLE.is_dir()
    anyio.run(session)


def test_keys_and_other_methods_hold_at_mcp_too(tmp_path: Path) -> None:
    import httpx

    keys = tmp_path / "keys.txt"
    keys.write_text("a-key-of-a-caller\n")
    with ServerProcess(["--world", "0", "--mcp", "--api-key-file", str(keys)]) as server:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        assert httpx.post(f"{server.url}/mcp", json=body).status_code == 401
        headers = {"authorization": "Bearer a-key-of-a-caller"}
        for method in ("GET", "DELETE", "PUT"):
            assert httpx.request(method, f"{server.url}/mcp", headers=headers).status_code == 405

        async def session() -> None:
            from fastmcp.client.auth import BearerAuth

            async with FastClient(f"{server.url}/mcp?search=only", auth=BearerAuth("a-key-of-a-caller")) as client:
                assert len(await listed(client)) == 2

        anyio.run(session)
        text = httpx.get(f"{server.url}/metrics", headers=headers).text
    assert 'toolserver_requests_total{route="/mcp",status="401"} 1.0' in text


@pytest.mark.parametrize(
    ("origin", "taken"), [("http://evil.example", False), ("null", False), ("http://localhost:6274", True)]
)
def test_web_pages_of_other_sites_may_not_call(origin: str, taken: bool, world: ServerProcess) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    headers = {"origin": origin, "accept": "application/json, text/event-stream"}
    answer = httpx.post(f"{world.url}/mcp", json=request, headers=headers)
    assert (answer.status_code != 403) == taken
