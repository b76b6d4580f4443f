"""OpenEnv's own clients over the wire against `steptool serve-openenv`."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import gymnasium as gym
import httpx
import pytest

pytest.importorskip("openenv.core", reason="needs openenv: pip install 'steptool-env[openenv]'")

from openenv.core.client_types import StepResult
from openenv.core.env_client import EnvClient
from openenv.core.env_server.mcp_types import CallToolAction, ListToolsAction
from openenv.core.generic_client import GenericEnvClient
from openenv.core.mcp_client import MCPToolClient

import steptool_env  # noqa: F401 - registers the environments
from steptool_env.env import ToolEnv
from steptool_env.formats import make_format
from steptool_env.integrations.openenv import EpisodeState, Session, TextAction, TextObservation, ToolsEnvironment
from steptool_env.types import FINISH
from tests.integrations.openenv.report import IMAGE, PACKAGE, REPORT, make_report, validate
from tests.integrations.oracle import play
from tests.server_stub import QuietHandler, running
from tests.steptool_env import toy_turns
from toolserver.children import end

ROOT = Path(__file__).parents[3]
SPLIT = "depth-2"


@contextmanager
def serving(*words: str) -> Iterator[str]:
    command = [sys.executable, "-m", "agents.cli", "serve-openenv", "--port", "0", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        yield found[0]
    finally:
        end(process)
        process.stdout.close()  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def text_url() -> Iterator[str]:
    with serving("--env-args", f"split={SPLIT}") as url:
        yield url


@pytest.fixture(scope="module")
def tools_url() -> Iterator[str]:
    with serving("--tools", "--env-args", f"split={SPLIT}") as url:
        yield url


class TypedClient(EnvClient[TextAction, TextObservation, EpisodeState]):  # type: ignore[misc]
    """The client that OpenEnv's documentation has authors write."""

    def _step_payload(self, action: TextAction) -> dict[str, Any]:
        return dict(action.model_dump())

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[TextObservation]:
        observation = TextObservation(**payload["observation"], reward=payload["reward"], done=payload["done"])
        return StepResult(observation=observation, reward=payload["reward"], done=payload["done"])

    def _parse_state(self, payload: dict[str, Any]) -> EpisodeState:
        return EpisodeState(**payload)


def local(call_format: str = "react") -> ToolEnv:
    env = gym.make("StepTool/ToolWorld-v0", split=SPLIT, format=call_format).unwrapped
    assert isinstance(env, ToolEnv)
    return env


def oracle_texts(index: int, call_format: str = "react") -> list[str]:
    """The oracle's actions of a task."""
    return [text for text, _ in play(index, episode_seed=5, format=call_format)[1]]


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def expected_of(env: ToolEnv, text: str) -> tuple[str, float, bool, Any]:
    """Observation, reward, end and metadata of a step, as the wire must carry them."""
    observation, reward, terminated, truncated, info = env.step(text)
    kept = {key: value for key, value in info.items() if key != "trajectory"}
    kept |= {"terminated": terminated, "truncated": truncated}
    return observation, reward, terminated or truncated, as_json(kept)


@pytest.mark.parametrize("client", [TypedClient, GenericEnvClient])
def test_episodes_equal_those_of_gymnasium_byte_for_byte(client: Any, text_url: str) -> None:
    env = local()
    with client(base_url=text_url).sync() as remote:
        for index in (0, 3):
            texts = ["no call", *oracle_texts(index)]
            prompt, info = env.reset(seed=0, options={"task": index, "episode_seed": 5})
            first = remote.reset(seed=0, index=index, episode_seed=5, episode_id=f"e{index}")
            seen = first.observation if isinstance(first.observation, dict) else first.observation.model_dump()
            assert (seen["text"], seen["metadata"]) == (prompt, as_json(info))
            for text in texts:
                got = remote.step({"text": text} if client is GenericEnvClient else TextAction(text=text))
                seen = got.observation if isinstance(got.observation, dict) else got.observation.model_dump()
                assert (seen["text"], got.reward, got.done, seen["metadata"]) == expected_of(env, text)
            assert got.done
            assert seen["metadata"]["outcome"]["is_solved"] == 1
            assert len(seen["metadata"]["step_rewards"]) == len(texts)


def test_the_seed_draws_the_task_as_in_gymnasium(text_url: str) -> None:
    env = local()
    with GenericEnvClient(base_url=text_url).sync() as remote:
        for seed in (1, 2):
            assert remote.reset(seed=seed).observation["text"] == env.reset(seed=seed)[0]


def test_sessions_side_by_side_never_mix(text_url: str) -> None:
    scripts = {index: oracle_texts(index) for index in range(4)}
    clients = {index: GenericEnvClient(base_url=text_url).sync() for index in scripts}
    twins = {index: local() for index in scripts}
    for index, client in clients.items():
        client.connect()
        client.reset(seed=0, index=index, episode_seed=5)
        twins[index].reset(seed=0, options={"task": index, "episode_seed": 5})
    for turn in range(max(map(len, scripts.values()))):
        for index, client in clients.items():
            if turn < len(scripts[index]):
                got = client.step({"text": scripts[index][turn]})
                expected = expected_of(twins[index], scripts[index][turn])
                assert (got.observation["text"], got.reward, got.done, got.observation["metadata"]) == expected
    for client in clients.values():
        client.close()


def test_a_snapshot_goes_on_in_another_session(text_url: str) -> None:
    first, *rest = oracle_texts(1)
    with GenericEnvClient(base_url=text_url).sync() as one, GenericEnvClient(base_url=text_url).sync() as two:
        one.reset(seed=0, index=1, episode_seed=5)
        answer = one.step({"text": first})
        state = one.state()
        assert (state["step_count"], state["task_id"]) == (1, local().suite.task(1).id)
        assert "solution" not in state["snapshot"]
        resumed = two.reset(injected_state=state["snapshot"])
        assert resumed.observation["text"] == answer.observation["text"]
        for text in rest:
            mine, theirs = one.step({"text": text}), two.step({"text": text})
            assert (mine.observation, mine.reward, mine.done) == (theirs.observation, theirs.reward, theirs.done)
        assert theirs.observation["metadata"]["outcome"]["is_solved"] == 1


def test_the_task_api_names_splits_and_tasks(text_url: str) -> None:
    def ask(path: str, body: dict[str, Any]) -> Any:
        return httpx.post(f"{text_url}/steptool/{path}", json=body)

    assert httpx.get(f"{text_url}/list_environments").json() == ["steptool"]
    splits = {each["name"]: each["type"] for each in httpx.get(f"{text_url}/steptool/splits").json()}
    assert {"train": "train", "validation": "validation", "depth-2": "test"}.items() <= splits.items()
    suite = local().suite
    assert ask("num_tasks", {"split": SPLIT}).json() == {"num_tasks": len(suite)}
    task = ask("task", {"split": SPLIT, "index": 2}).json()["task"]
    assert (task["id"], task["query"]) == (suite.task(2).id, suite.task(2).query)
    tasks = ask("task_range", {"split": "validation", "start": 1, "stop": 3}).json()["tasks"]
    assert [each["index"] for each in tasks] == [1, 2]
    assert ask("task", {"split": SPLIT, "index": len(suite)}).status_code == 400
    with GenericEnvClient(base_url=text_url).sync() as remote:
        info = remote.reset(split="validation", index=1).observation["metadata"]
        assert info["task_id"] == tasks[0]["id"]


def test_a_wrong_option_is_named(text_url: str) -> None:
    with GenericEnvClient(base_url=text_url).sync() as remote:
        with pytest.raises(RuntimeError, match="split='nope': must be one of"):
            remote.reset(split="nope")
        with pytest.raises(RuntimeError, match=r"not a snapshot|damaged"):
            remote.reset(injected_state="{}")
        with pytest.raises(RuntimeError, match=r"injected_state=\{\}: must be text, the `snapshot` of a state"):
            remote.reset(injected_state={})


def test_a_split_holds_for_its_own_episode_alone(text_url: str) -> None:
    env = local()
    with GenericEnvClient(base_url=text_url).sync() as remote:
        remote.reset(split="validation", index=1)
        assert remote.reset(seed=1).observation["text"] == env.reset(seed=1)[0]


@pytest.mark.parametrize(
    "options",
    [
        {"split": "validation", "task": "nope"},
        {"split": "validation", "injected_state": "{}"},
        {"task": "nope"},
        {"injected_state": "{}"},
    ],
)
def test_a_refused_reset_leaves_the_running_episode(options: dict[str, str], text_url: str) -> None:
    env = local()
    first, *rest = oracle_texts(1)
    env.reset(seed=0, options={"task": 1, "episode_seed": 5})
    env.step(first)
    with GenericEnvClient(base_url=text_url).sync() as remote:
        remote.reset(seed=0, index=1, episode_seed=5, episode_id="kept")
        remote.step({"text": first})
        with pytest.raises(RuntimeError, match=r"nope|not a snapshot"):
            remote.reset(episode_id="refused", **options)
        assert remote.state()["episode_id"] == "kept"
        for text in rest:
            got = remote.step({"text": text})
            assert (got.observation["text"], got.reward, got.done, got.observation["metadata"]) == expected_of(
                env, text
            )


def test_the_tools_of_each_task_are_listed_called_and_scored(tools_url: str) -> None:
    env = local("openai")
    parse = make_format("openai").parse

    async def session() -> None:
        async with MCPToolClient(base_url=tools_url) as remote:
            listed = []
            for index in (0, 3):
                texts = oracle_texts(index, "openai")
                _, info = env.reset(seed=0, options={"task": index, "episode_seed": 5})
                first = await remote.reset(seed=0, index=index, episode_seed=5)
                assert first.observation.text == info["messages"][-1]["content"].strip()
                tools = await remote.list_tools(use_cache=False)
                listed.append([tool.name for tool in tools])
                assert listed[-1] == list(dict.fromkeys(each["name"] for each in info["functions"]))
                assert tools[-1].input_schema["required"] == ["return_type"]
                for text in (env.config.format.render("no_such_function", {}), *texts):
                    action = parse(text)
                    call = CallToolAction(tool_name=action.name, arguments=json.loads(action.arguments))
                    got = await remote.step(call)
                    expected = expected_of(env, env.config.format.render(action.name, call.arguments))
                    seen = got.observation
                    assert (seen.result["data"], got.reward, got.done, seen.metadata) == expected
                    assert seen.result["is_error"] == (seen.metadata["status"] not in (0, 3, 4))
                assert seen.metadata["outcome"]["is_solved"] == 1
            assert listed[0] != listed[1]
            await remote.reset(seed=0, index=0)
            with pytest.raises(RuntimeError, match="Missing required parameter"):
                await remote.call_tool(listed[0][0])

    asyncio.run(session())


def test_the_functions_of_a_later_turn_are_listed_from_its_start_and_after_a_snapshot() -> None:
    def names(environment: ToolsEnvironment) -> list[str]:
        return [tool.name for tool in environment.step(ListToolsAction()).tools]

    arguments = {"format": "openai"}
    played, resumed = (ToolsEnvironment(Session(toy_turns.ID, arguments)) for _ in range(2))
    played.reset(seed=0, index=1)
    for offered in (toy_turns.FIRST, toy_turns.FIRST, toy_turns.LAST):
        assert names(played) == offered
        first = resumed.reset(injected_state=played.state.snapshot)
        assert [function["name"] for function in first.metadata["functions"]] == names(resumed) == offered
        last = played.step(CallToolAction(tool_name=FINISH, arguments=toy_turns.DONE))
    assert last.done
    played.reset(seed=0, index=1)
    assert names(played) == toy_turns.FIRST


@pytest.mark.parametrize("kind", ["text", "tools"])
def test_openenvs_validation_of_a_running_server_passes(kind: str, text_url: str, tools_url: str) -> None:
    url = text_url if kind == "text" else tools_url
    command = [str(Path(sys.executable).with_name("openenv")), "validate", "--url", url]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_recorded_tasks_are_served_the_same_way() -> None:
    with serving("--env", "StepTool/StableToolBench-v0") as url, GenericEnvClient(base_url=url).sync() as remote:
        splits = httpx.get(f"{url}/steptool/splits").json()
        assert [each["name"] for each in splits][:2] == ["G1_instruction", "G1_category"]
        remote.reset(split="G2_instruction", index=0)
        got = remote.step({"text": 'Action: Finish\nAction Input: {"return_type": "give_up_and_restart"}'})
        assert got.done
        assert "step_rewards" in got.observation["metadata"]


class Stalled(QuietHandler):
    """A tool server that lets a call wait, and answers none."""

    def get(self) -> None:
        self.server.asked.set()
        self.server.released.wait(60)
        self.send_error(501)

    def post(self, body: bytes) -> None:
        self.get()


@pytest.mark.parametrize("words", [(), ("--tools",)], ids=["texts", "tools"])
def test_a_slow_tool_server_holds_up_no_other_session_and_a_lost_one_gives_no_reward(words: tuple[str, ...]) -> None:
    call_format = "openai" if words else "react"

    def action(text: str) -> dict[str, Any]:
        called = make_format(call_format).parse(text)
        call = {"type": "call_tool", "tool_name": called.name, "arguments": json.loads(called.arguments)}
        return call if words else {"text": text}

    with ExitStack() as stack:
        tools = stack.enter_context(running(Stalled, asked=Event(), released=Event()))
        stack.callback(tools.released.set)
        url = stack.enter_context(
            serving(*words, "--env-args", f"split={SPLIT}", "--server-url", f"http://127.0.0.1:{tools.server_port}")
        )
        one, other = (stack.enter_context(GenericEnvClient(base_url=url).sync()) for _ in range(2))
        one.reset(index=0)
        pool = stack.enter_context(ThreadPoolExecutor(1))
        waiting = pool.submit(one.step, action(oracle_texts(0, call_format)[0]))
        assert tools.asked.wait(60)
        other.reset(index=1)
        assert other.step(action(make_format(call_format).render("no_such_function", {}))).reward is not None
        assert not waiting.done()
        tools.released.set()
        with pytest.raises(RuntimeError, match="HTTP 501"):
            waiting.result()


def test_the_package_declares_the_rewards_that_oracle_and_floors_earn(text_url: str) -> None:
    done = validate(PACKAGE, "--level", "static")
    assert done.returncode == 0, done.stdout + done.stderr
    margin = float(re.findall(r"floor_margin: (\S+)", (PACKAGE / "openenv.yaml").read_text())[0])
    plan = json.loads((PACKAGE / "validation" / "runtime.json").read_text())
    options = {"seed": plan["reset"]["seed"], **plan["reset"]["options"]}
    give_up = 'Action: Finish\nAction Input: {"return_type": "give_up_and_restart"}'

    def played(remote: Any, actions: list[dict[str, str]]) -> float:
        remote.reset(**options)
        results = [remote.step(action) for action in actions]
        assert results[-1].done
        assert sum(each.reward for each in results) == pytest.approx(sum(results[-1].metadata["step_rewards"]))
        return sum(each.reward for each in results)

    with GenericEnvClient(base_url=text_url).sync() as remote:
        assert played(remote, plan["actions"]) == pytest.approx(1)
        assert played(remote, [{"text": give_up}]) <= 1 - margin
        assert played(remote, [{"text": "no call"}] * 12) <= 1 - margin


def test_the_committed_report_is_that_of_the_manifest() -> None:
    committed, static = json.loads(REPORT.read_text()), make_report("static")
    names = {each["check_id"] for each in static["results"]}
    assert names == {"static.manifest"}
    assert [each for each in committed["results"] if each["check_id"] in names] == static["results"]
    assert {name: committed[name] for name in ("openenv", "manifest")} == {
        name: static[name] for name in ("openenv", "manifest")
    }


def test_the_committed_report_is_that_of_the_container() -> None:
    """Five of the six checks that this release has pass, and the one of the network needs an image of a registry."""
    committed = json.loads(REPORT.read_text())
    status = {each["check_id"]: each["status"] for each in committed["results"]}
    passed = {name for name, each in status.items() if each == "pass"}
    assert passed == {
        "static.manifest",
        *(f"runtime.{name}" for name in ("startup", "reward_well_formed", "observation_schema", "state_contract")),
    }
    reasons = {
        each["check_id"]: " ".join(each["evidence"]) for each in committed["results"] if each["status"] != "pass"
    }
    assert {name for name, why in reasons.items() if why != "grader not implemented in this build"} == {
        "runtime.network_policy"
    }
    try:
        subprocess.run(["docker", "image", "inspect", IMAGE], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"needs Docker and the image {IMAGE}: docker build --target openenv -t {IMAGE} .")
    assert make_report("runtime") == committed
