"""`vf-eval` plays ToolWorld over HTTP with an endpoint that answers what the oracle would."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verifiers.v1", reason="needs verifiers: pip install 'steptool-env[verifiers]'")

import verifiers.v1 as vf
from verifiers.v1.utils.loaders import environment_class, taskset_class

from steptool_env.episodes.episode import Transition
from steptool_env.errors import ConfigurationError
from steptool_env.integrations.verifiers import INFO, ToolTaskEnv, ToolTaskset, ToolTasksetConfig
from tests.integrations.oracle import play
from tests.server_stub import QuietHandler, running

ROOT = Path(__file__).parents[3]
SPLIT, TASKS = "depth-2", 2


def played(index: int, *first: str) -> tuple[str, list[tuple[str, Transition]]]:
    """The query of a task, the texts `first` and then the oracle's, and what Gymnasium answers to each."""
    info, transitions = play(index, first=first)
    return info["messages"][-1]["content"].strip(), transitions


@contextmanager
def endpoint(reply: Callable[[list[dict[str, Any]]], str | None]) -> Iterator[str]:
    """Chat completions as a stream of events, as verifiers asks for; HTTP 500 where there is no reply."""

    class Handler(QuietHandler):
        def post(self, body: bytes) -> None:
            request = json.loads(body)
            text = reply(request["messages"])
            if text is None:
                self.reply(500, b"{}")
                return
            common = {"id": "chat-1", "object": "chat.completion.chunk", "created": 0, "model": request["model"]}
            usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
            choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
            last = {"index": 0, "delta": {}, "finish_reason": "stop"}
            events = [{"choices": [choice]}, {"choices": [last]}, {"choices": [], "usage": usage}]
            lines = [f"data: {json.dumps(common | event)}\n\n" for event in events]
            content = "".join([*lines, "data: [DONE]\n\n"]).encode()
            self.reply(200, content, {"content-type": "text/event-stream"})

    with running(Handler) as server:
        yield f"http://127.0.0.1:{server.server_port}/v1"


def evaluate(url: str, folder: Path, *words: str) -> list[dict[str, Any]]:
    """Run `vf-eval`, and return its traces."""
    programs = Path(sys.executable).parent
    command = [str(programs / "vf-eval"), "steptool-toolworld", "--model", "oracle", "--client.base-url", url]
    command += ["--env.taskset.env-args.split", SPLIT, "-n", str(TASKS), "--no-push", "--no-rich"]
    command += ["--output-dir", str(folder), "--run.name", "run", *words]
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "PRIME_API_KEY": "none"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    episodes = [json.loads(line) for line in (folder / "run" / "traces.jsonl").read_text().splitlines()]
    return [trace for episode in episodes for trace in episode["traces"]]


def test_the_environment_is_found_by_its_name() -> None:
    assert taskset_class("steptool-toolworld") is ToolTaskset
    assert environment_class("steptool-toolworld") is ToolTaskEnv


def test_tasks_have_stable_keys_and_no_solution() -> None:
    tasks = list(ToolTaskset(ToolTasksetConfig(env_args={"split": SPLIT}, tasks=3)))
    assert [task.key for task in tasks] == [f"w0-lite-depth-2-{index}" for index in range(3)]
    assert all(isinstance(task.data, vf.TaskData) and "solution" not in task.data.model_dump_json() for task in tasks)
    assert tasks[1].data.prompt == played(1)[0]
    with pytest.raises(ConfigurationError, match="format='openai'"):
        list(ToolTaskset(ToolTasksetConfig(env_args={"format": "openai"})))


def test_vf_eval_plays_as_gymnasium_does(tmp_path: Path) -> None:
    """The same answers and rewards, step by step; a message without a call is a step, too."""
    scripts = dict(played(index, "no call") for index in range(TASKS))

    def reply(messages: list[dict[str, Any]]) -> str:
        user = [message["content"] for message in messages if message["role"] == "user"]
        transitions = scripts[user[0]]
        assert user[1:] == [step[0] for _, step in transitions[: len(user) - 1]]
        return transitions[len(user) - 1][0]

    with endpoint(reply) as url:
        traces = evaluate(url, tmp_path)
    assert len(traces) == TASKS
    for trace in traces:
        assert trace["ok"], trace["errors"]
        transitions = scripts[trace["task"]["data"]["prompt"]]
        last = transitions[-1][1][4]
        episode = trace["info"][INFO]
        assert episode["step_rewards"] == list(last["step_rewards"])
        assert episode["reward_terms"] == [step[4]["reward_terms"] for _, step in transitions]
        assert trace["rewards"]["steps"]["score"] == pytest.approx(sum(last["step_rewards"]))
        assert trace["metrics"]["is_solved"] == 1
        assert trace["metrics"]["calls"] == len(transitions)
        written = [node["message"]["content"] for node in trace["nodes"] if node["sampled"]]
        assert written == [text for text, _ in transitions]  # a step for each message of the model


def test_a_limit_of_turns_leaves_an_episode_that_is_judged_on_what_was_done(tmp_path: Path) -> None:
    scripts = dict(played(index) for index in range(TASKS))

    def reply(messages: list[dict[str, Any]]) -> str:
        user = [message["content"] for message in messages if message["role"] == "user"]
        return scripts[user[0]][len(user) - 1][0]

    with endpoint(reply) as url:
        traces = evaluate(url, tmp_path, "--env.player.max-turns", "1")
    for trace in traces:
        assert trace["info"][INFO]["step_rewards"] == [0.25]
        assert trace["metrics"] == {**trace["metrics"], "is_solved": 0, "calls": 1}


def test_an_endpoint_that_fails_gives_no_reward(tmp_path: Path) -> None:
    with endpoint(lambda _: None) as url:
        traces = evaluate(url, tmp_path)
    assert traces
    for trace in traces:
        assert not trace["ok"]
        assert trace["errors"]
        assert not trace["rewards"]
