"""Agents by name, and what the built-in ones do."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.baselines.random import RandomAgent
from agents.baselines.replay import ReplayAgent
from agents.chat.completions import FunctionNames, OpenAIAgent
from agents.cli import main
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.evaluation.results import metrics_of
from agents.registry import make_agent
from steptool_env.errors import ChatError, ConfigurationError, DataError
from steptool_env.formats import FORMATS, make_format
from steptool_env.trajectories.recordings import read_recordings
from steptool_env.trajectories.trajectories import write_trajectories
from steptool_env.types import FINISH, Task, Trajectory
from tests.agents.toy_env import TOYS
from tests.server_stub import calling, chat_stub
from toolserver.catalog.api_schema import StatusCode

FORMAT_NAMES = FORMATS.names()


def play(agent: Any, episodes: int = 10, slots: int = 3, **kwargs: Any) -> list[Trajectory]:
    return evaluate(Evaluation(TOYS, kwargs, episodes, slots), agent)


def statuses(trajectory: Trajectory) -> list[StatusCode]:
    return [step.status for step in trajectory.steps]


class OneWordAgent:
    """The smallest agent there can be."""

    name = "one word"

    def __init__(self, word: str = "hello") -> None:
        self.word = word

    def reset(self, indices: Any, observations: Any, infos: Any) -> None:
        pass

    def act(self, indices: Any, observations: Any, infos: Any) -> list[str]:
        return [self.word for _ in indices]


def test_agents_are_found_by_name_and_by_module() -> None:
    assert make_agent("random", seed=3).name == "random"
    assert make_agent("openai:some-model", base_url="http://127.0.0.1:1/v1").name == "some-model"
    agent = make_agent("tests.agents.baselines.test_agents:OneWordAgent", word="hi")
    assert agent.act([0], [""], [{}]) == ["hi"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nobody", {}, "unknown agent 'nobody'.*random"),
        ("nobody:x", {}, "cannot be loaded"),
        ("random", {"temperature": 1}, "temperature"),
        ("replay", {}, "path"),
        ("openai", {}, "openai:MODEL"),
        ("openai:m", {"base_url": "127.0.0.1:1/v1"}, "base_url='127.0.0.1:1/v1': .*like http://127.0.0.1:8000/v1"),
        ("openai:m", {"base_url": "localhost:1/v1"}, "base_url='localhost:1/v1': not an http.s. URL"),
        ("openai:m", {"base_url": 8000}, "base_url=8000: .*like http://127.0.0.1:8000/v1"),
        ("tests.agents.baselines.test_agents:Nothing", {}, "cannot be loaded"),
    ],
)
def test_wrong_names_and_options_are_explained(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_agent(name, **options)


def test_a_wrong_address_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "localhost:8000/v1")
    with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL='localhost:8000/v1': not an http"):
        make_agent("openai:m")


@pytest.mark.parametrize("format_name", FORMAT_NAMES)
def test_random_writes_valid_calls_in_every_format_and_ends_in_time(format_name: str) -> None:
    for trajectory in play(RandomAgent(seed=1), format=format_name):
        assert trajectory.terminated
        assert statuses(trajectory)[-1] is StatusCode.FINAL_ANSWER
        assert not {StatusCode.BAD_INPUT, StatusCode.NO_SUCH_FUNCTION} & set(statuses(trajectory))


def test_random_depends_on_its_seed_and_the_task_alone() -> None:
    texts = [[step.action.text for t in play(RandomAgent(seed=s), slots=n) for step in t.steps] for s, n in
             ((5, 1), (5, 4), (6, 1))]  # fmt: skip
    assert texts[0] == texts[1] != texts[2]


SCHEMA = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "integer", "number", "boolean", "array", "object"])},
    optional={"enum": st.lists(st.text(min_size=1), min_size=1, max_size=3), "example_value": st.text()},
)


@given(st.dictionaries(st.text(min_size=1, max_size=8), SCHEMA, max_size=4), st.integers(0, 99))
def test_random_copes_with_any_schema(properties: dict[str, Any], seed: int) -> None:
    parameters = {"type": "object", "properties": properties, "required": sorted(properties)[:2]}
    info = {
        "task_id": "1",
        "format": "openai",
        "functions": [{"name": "f", "parameters": parameters}, {"name": FINISH}],
        "messages": [{"role": "user", "content": "Count to 3."}],
        "calls_left": 5,
    }
    agent = RandomAgent(seed=seed, finish=0.0)
    agent.reset([7], [""], [info])
    action = make_format("openai").parse(agent.act([7], [""], [info])[0])
    assert (action.name, action.error) == ("f", "")
    assert set(parameters["required"]) <= json.loads(action.arguments).keys() <= properties.keys()


@pytest.mark.parametrize(("count", "said"), [(1, "there are s/0"), (4, "there are s/0, s/1, s/2 and 1 more")])
def test_a_replay_names_the_tasks_that_it_has(count: int, said: str) -> None:
    agent = ReplayAgent(Trajectory(Task(str(number), "s", "?", ()), (), (), True, False) for number in range(count))
    with pytest.raises(DataError, match=f"of other/7; {said}$"):
        agent.begin({"suite": "other", "task_id": "7", "messages": [{"role": "user", "content": ""}]})


@pytest.mark.parametrize("format_name", FORMAT_NAMES)
def test_a_replay_takes_the_same_actions_in_any_format(format_name: str) -> None:
    recorded = play(RandomAgent(seed=2))
    again = play(ReplayAgent(recorded), format=format_name)
    for first, second in zip(recorded, again, strict=True):
        assert [s.body for s in first.steps] == [s.body for s in second.steps]
        assert statuses(first) == statuses(second)
        assert first.rewards == second.rewards


def test_a_replay_in_the_recorded_format_is_identical(tmp_path: Path) -> None:
    recorded = play(RandomAgent(seed=2))
    write_trajectories(tmp_path / "first.jsonl", recorded)
    write_trajectories(tmp_path / "second.jsonl", play(make_agent(f"replay:{tmp_path / 'first.jsonl'}")))
    assert (tmp_path / "first.jsonl").read_bytes() == (tmp_path / "second.jsonl").read_bytes()


def test_a_replay_gives_up_where_its_recording_ends_and_refuses_other_tasks() -> None:
    (recorded,) = play(OneWordAgent(), episodes=1)
    assert statuses(play(ReplayAgent([recorded]), episodes=1, call_budget=9)[0])[-1] is StatusCode.GAVE_UP
    with pytest.raises(DataError, match="no recorded episode of toys/toy-1"):
        play(ReplayAgent([recorded]), episodes=2)


def test_a_judged_run_is_replayed_through_the_environment(stabletoolbench_data: Path, judged_run: Path) -> None:
    """The recorded judgements come back, so the replayed run passes as published."""
    path = judged_run / "G2_instruction.json"
    options = {"judge": "recorded", "path": str(path)}
    kwargs = {
        "suite": "G2_instruction",
        "data": str(stabletoolbench_data),
        "call_budget": 17,
        "reward_options": options,
    }
    published = {episode.task.id: episode for episode in read_recordings(path)}
    evaluation = Evaluation("StepTool/StableToolBench-v0", kwargs, min(30, len(published)), 4)
    for trajectory in evaluate(evaluation, make_agent(f"replay:{path}")):
        recorded = published[trajectory.task.id]
        outcome = trajectory.metadata["outcome"]
        assert outcome["is_recorded"] == 1.0
        assert outcome["is_solved"] == pytest.approx(recorded.metadata["outcome"]["is_solved"])
        assert [s.action.name for s in trajectory.steps] == [s.action.name for s in recorded.steps]


def test_a_chat_model_acts_by_tool_calls_and_keeps_its_conversation() -> None:
    def reply(request: dict[str, Any]) -> dict[str, Any]:
        if request["messages"][-1]["role"] == "user":
            return calling("say_it_for_echo", "Let me see.", text="hello")
        return calling(FINISH, return_type="give_answer", final_answer=request["messages"][-1]["content"][:40])

    with chat_stub(reply) as stub:
        agent = OpenAIAgent("m", base_url=stub.url)
        trajectories = play(agent, episodes=4, slots=2, format="openai")
        agent.close()
    for trajectory in trajectories:
        assert statuses(trajectory) == [StatusCode.OK, StatusCode.FINAL_ANSWER]
        assert trajectory.steps[0].action.thought == "Let me see."
        assert "hello" in trajectory.steps[1].action.arguments
    roles = [[message["role"] for message in request["messages"]] for request in stub.requests]
    assert sorted(roles, key=len)[-1] == ["system", "user", "assistant", "tool"]
    assert all(request["tools"][-1]["function"]["name"] == FINISH for request in stub.requests)


def test_a_tool_call_without_an_id_gets_one_that_its_answer_names() -> None:
    def reply(request: dict[str, Any]) -> dict[str, Any]:
        if len(request["messages"]) > 4:
            return calling(FINISH, return_type="give_answer", final_answer="done")
        message = calling("say_it_for_echo", text="hello")
        del message["tool_calls"][0]["id"]
        return message

    with chat_stub(reply) as stub:
        agent = OpenAIAgent("m", base_url=stub.url)
        play(agent, episodes=1, format="hermes")
        agent.close()
    *_, first, answer, second, last = stub.requests[-1]["messages"]
    assert [message["role"] for message in (first, answer, second, last)] == ["assistant", "tool", "assistant", "tool"]
    assert answer["tool_call_id"] == first["tool_calls"][0]["id"] != second["tool_calls"][0]["id"]
    assert last["tool_call_id"] == second["tool_calls"][0]["id"]


def test_sampled_requests_to_a_chat_model_are_seeded_by_task_and_step() -> None:
    """Whatever the number of slots; greedy ones need no seed."""

    def reply(request: dict[str, Any]) -> dict[str, Any]:
        if request["messages"][-1]["role"] == "user":
            return calling("say_it_for_echo", text="hello")
        return calling(FINISH, return_type="give_answer", final_answer="done")

    def seeds(slots: int, **options: Any) -> list[tuple[str, int | None]]:
        with chat_stub(reply) as stub:
            agent = make_agent("openai:m", run_seed=3, base_url=stub.url, **options)
            play(agent, episodes=4, slots=slots, format="openai")
            agent.close()  # type: ignore[attr-defined]
            return sorted((json.dumps(asked["messages"]), asked.get("seed")) for asked in stub.requests)

    alone = seeds(1, temperature=1.0)
    assert seeds(4, temperature=1.0) == alone
    assert len({seed for _, seed in alone}) == len(alone) == 8
    assert seeds(1, temperature=1.0, seed=4) != alone
    assert {seed for _, seed in seeds(1)} == {None}


REFUSED = re.compile(r"[^a-zA-Z0-9_-]|^$|.{65}")
LONG = [f"{'search_for_players_and_their_clubs_' * 3}{end}" for end in ("by_name", "by_club")]
OFFERED = [*LONG, "wörter.zählen", "plain_name", FINISH]


def strict(reply: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    """An endpoint that refuses names as OpenAI's does: in the tools and in the conversation, and tools of one name."""

    def enforce(request: dict[str, Any]) -> Any:
        names = [tool["function"]["name"] for tool in request["tools"]]
        said = [call["function"]["name"] for message in request["messages"] for call in message.get("tool_calls", ())]
        if len(set(names)) < len(names) or any(map(REFUSED.search, names + said)):
            return 400
        return reply(request)

    return enforce


def episode_of(functions: Sequence[str]) -> dict[str, Any]:
    schemas = [{"name": name, "parameters": {"type": "object", "properties": {}}} for name in functions]
    return {"format": "openai", "functions": schemas, "messages": [{"role": "user", "content": "Go."}]}


def test_names_that_an_endpoint_refuses_go_under_an_alias_and_come_back() -> None:
    def reply(request: dict[str, Any]) -> Any:
        turn = sum(message["role"] == "assistant" for message in request["messages"])
        made_up = [calling("functions.made up!"), calling(FINISH)]
        return [*(calling(tool["function"]["name"]) for tool in request["tools"][:4]), *made_up][turn]

    info = episode_of([*OFFERED[:4], LONG[0], FINISH])
    with chat_stub(strict(reply)) as stub:
        agent = OpenAIAgent("m", base_url=stub.url, retries=0)
        agent.reset([0], [""], [info])
        texts = [agent.act([0], ["{}"], [info])[0] for _ in range(6)]
        agent.close()
    called = [make_format("openai").parse(text).name for text in texts]
    assert called == [*OFFERED[:4], "functions.made up!", FINISH]
    assert len({json.dumps(request["tools"]) for request in stub.requests}) == 1
    assert [tool["function"]["name"] for tool in stub.requests[0]["tools"]][3:] == ["plain_name", FINISH]


@given(st.lists(st.text(max_size=90) | st.sampled_from(OFFERED), max_size=8))
def test_aliases_are_valid_and_unique_and_lead_back(names: list[str]) -> None:
    aliases = FunctionNames(names)
    sent = {name: aliases.alias(name) for name in names}
    assert not any(map(REFUSED.search, sent.values()))
    assert len(set(sent.values())) == len(sent)
    assert {name: aliases.name(alias) for name, alias in sent.items()} == {name: name for name in names}
    assert {name: FunctionNames([name, FINISH]).alias(name) for name in names} == sent


def test_an_alias_that_is_somebody_elses_name_is_not_taken() -> None:
    taken = FunctionNames(LONG[:1]).alias(LONG[0])
    for names in ([LONG[0], taken], [taken, LONG[0]]):
        aliases = FunctionNames(names)
        assert aliases.alias(taken) == taken != aliases.alias(LONG[0])
        assert aliases.name(aliases.alias(LONG[0])) == LONG[0]


def test_in_react_a_chat_model_reads_and_writes_text() -> None:
    text = make_format("react").render(FINISH, '{"return_type": "give_up_and_restart"}', "Too hard.")
    with chat_stub(lambda _: {"role": "assistant", "content": text}) as stub:
        (trajectory,) = play(OpenAIAgent("m", base_url=stub.url), episodes=1)
    assert statuses(trajectory) == [StatusCode.GAVE_UP]
    assert "tools" not in stub.requests[0]


def test_an_endpoint_that_is_away_ends_the_run_and_is_no_failure_of_the_model() -> None:
    with chat_stub(lambda _: 400) as stub:
        url = stub.url  # nobody listens there below
    with pytest.raises(ChatError, match=f"no chat model answers at {url}/chat/completions"):
        play(OpenAIAgent("m", base_url=url, retries=0), episodes=1)


def test_a_refused_conversation_is_given_up_and_too_many_end_the_run() -> None:
    with chat_stub(lambda _: 400) as stub:
        (trajectory,) = play(OpenAIAgent("m", base_url=stub.url, retries=0), episodes=1, format="openai")
        assert statuses(trajectory) == [StatusCode.GAVE_UP]
        assert "HTTP 400" in trajectory.steps[0].action.thought
        with pytest.raises(ChatError, match=r"too many episodes.*HTTP 400"):
            play(OpenAIAgent("m", base_url=stub.url, retries=0, max_failures=3), format="openai")


def test_an_endpoint_that_fails_is_not_the_model_giving_up_and_its_words_are_kept() -> None:
    key = "sk-secret-key"

    def reply(request: dict[str, Any]) -> Any:
        if "toy-1" in json.dumps(request["messages"]) or request["messages"][-1]["role"] == "tool":
            return 500, {"error": {"message": f"CUDA out of\nmemory for {key}"}}
        return calling("say_it_for_echo", text="hello")

    with chat_stub(reply) as stub:
        agent = OpenAIAgent("m", base_url=stub.url, api_key=key, retries=0)
        trajectories = play(agent, episodes=2, format="openai")
        with pytest.raises(ChatError, match=r"too many episodes.*HTTP 500.*CUDA out of memory"):
            play(OpenAIAgent("m", base_url=stub.url, retries=0, max_failures=1), episodes=4, format="openai")
    for trajectory in trajectories:
        assert trajectory.truncated
        assert StatusCode.GAVE_UP not in statuses(trajectory)
        assert "HTTP 500. It says: CUDA out of memory for ***" in trajectory.metadata["agent_error"]
    metrics = metrics_of(trajectories)
    assert (metrics["agent_errors"], metrics["transport_errors"], metrics["episodes"]) == (2, 0, 0)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<html>Sign in</html>", "It says: <html>Sign in</html>"),
        ({"choices": []}, 'choices.* It says: {"choices": \\[\\]}'),
        ({"error": {"message": "out of credit"}}, "It says: out of credit"),
    ],
)
def test_an_answer_that_is_no_completion_is_a_failure_of_the_endpoint(body: Any, said: str) -> None:
    with chat_stub(lambda _: (200, body)) as stub:
        (trajectory,) = play(OpenAIAgent("m", base_url=stub.url, retries=0), episodes=1, format="openai")
    assert re.search(said, trajectory.metadata["agent_error"])
    metrics = metrics_of([trajectory])
    assert (metrics["agent_errors"], metrics["episodes"]) == (1, 0)


def test_a_model_that_writes_nothing_takes_an_invalid_action() -> None:
    with chat_stub(lambda _: {"role": "assistant", "content": None}) as stub:
        (trajectory,) = play(OpenAIAgent("m", base_url=stub.url, retries=0), episodes=1, format="openai")
    assert set(statuses(trajectory)) == {StatusCode.BAD_INPUT}
    assert {step.action.text for step in trajectory.steps} == {""}
    assert stub.requests[1]["messages"][-2] == {"role": "assistant", "content": ""}
    assert metrics_of([trajectory])["episodes"] == 1


def test_a_conversation_that_cannot_be_encoded_is_given_up_and_not_retried() -> None:
    """JSON can escape half of a surrogate pair, and a request in UTF-8 cannot hold it."""
    with chat_stub(lambda _: {"role": "assistant", "content": "\ud800"}) as stub:
        (trajectory,) = play(OpenAIAgent("m", base_url=stub.url), episodes=1, format="openai")
    assert statuses(trajectory) == [StatusCode.BAD_INPUT, StatusCode.GAVE_UP]
    assert "cannot be encoded" in trajectory.steps[-1].action.thought
    assert len(stub.requests) == 1


def test_the_summary_names_the_endpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turns = iter([(503, "[overloaded]"), *[calling(FINISH, return_type="give_up_and_restart")] * 3])
    with chat_stub(lambda _: next(turns)) as stub:
        options = [f"base_url={stub.url}", "retries=0", "concurrency=1"]
        env = ["--env", "StepTool/ToolWorld-v0", "--env-args", "split=validation", "format=openai", "--episodes", "4"]
        main(["evaluate", *env, "--agent", "openai:m", "--agent-args", *options, "--out", str(tmp_path / "run")])
    said = " ".join(capsys.readouterr().out.split())
    assert "1 of 4 episodes were lost to the agent and do not count" in said
    assert "HTTP 503. It says: [overloaded]" in said
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (metrics["agent_errors"], metrics["transport_errors"], metrics["episodes"]) == (1, 0, 3)
