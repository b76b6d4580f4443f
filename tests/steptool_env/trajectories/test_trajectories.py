"""Trajectories survive the disk, and travel to and from ToolBench's files."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.rollout.episode_pool import SeparatePool
from steptool_env.env import ToolEnv
from steptool_env.episodes.records import encode, read_trajectory, trajectory_record
from steptool_env.errors import DataError
from steptool_env.metrics import result_of
from steptool_env.rewards import make_reward
from steptool_env.stabletoolbench.suite import StableToolBenchSuite
from steptool_env.trajectories import RecordTrajectories, RecordVectorTrajectories
from steptool_env.trajectories.converted import converted_answer
from steptool_env.trajectories.recordings import read_recordings
from steptool_env.trajectories.toolbench import from_answer, from_judged
from steptool_env.trajectories.toolbench_export import method_of, to_answer, write_answers
from steptool_env.trajectories.trajectories import TrajectoryWriter, read_trajectories, write_trajectories
from steptool_env.types import FINISH, Action, Step, Task, Trajectory
from steptool_env.vector import ToolVectorEnv
from tests.steptool_env.toys import ANSWER, COUNT, GIVE_UP, SAY, ToySuite, call, toy_config
from toolserver.catalog.api_schema import ApiSpec, Parameter, Provenance, StatusCode
from toolserver.stabletoolbench import read_answer, read_judged_run
from toolserver.stabletoolbench.answers import converted_answers

TEXT = st.text(max_size=20)
NUMBERS = st.floats(allow_nan=False)
TOOLS = st.builds(
    ApiSpec,
    category=TEXT,
    tool=TEXT,
    name=TEXT,
    description=TEXT,
    required=st.lists(st.builds(Parameter, TEXT, TEXT, TEXT, TEXT | st.integers()), max_size=2).map(tuple),
    optional=st.just(()),
    method=TEXT,
    tool_description=TEXT,
)
STEPS = st.builds(
    Step,
    action=st.builds(Action, TEXT, TEXT, TEXT, TEXT, TEXT),
    observation=TEXT,
    status=st.sampled_from(list(StatusCode)),
    body=TEXT,
    provenance=st.none() | st.sampled_from(list(Provenance)),
    reward=NUMBERS,
    reward_terms=st.dictionaries(TEXT, NUMBERS, max_size=3),
)
TRAJECTORIES = st.builds(
    Trajectory,
    task=st.builds(Task, TEXT, TEXT, TEXT, st.lists(TOOLS, max_size=2).map(tuple), st.lists(TEXT).map(tuple), TEXT),
    steps=st.lists(STEPS, max_size=3).map(tuple),
    rewards=st.lists(NUMBERS, max_size=3).map(tuple),
    terminated=st.booleans(),
    truncated=st.booleans(),
    metadata=st.dictionaries(TEXT, TEXT | st.integers() | NUMBERS, max_size=3),
)


def episode(actions: tuple[str, ...] = (COUNT, SAY, ANSWER)) -> Trajectory:
    env = ToolEnv(ToySuite(), toy_config())
    env.reset(seed=0)
    for action in actions:
        *_, info = env.step(action)
    trajectory: Trajectory = info["trajectory"]
    return trajectory


EPISODE_OF_TOYS = episode()
EPISODE = trajectory_record(EPISODE_OF_TOYS)


@given(trajectories=st.lists(TRAJECTORIES, max_size=3))
def test_what_is_written_is_read(trajectories: list[Trajectory], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("runs") / "trajectories.jsonl"
    write_trajectories(path, trajectories)
    assert read_trajectories(path) == (trajectories, [])
    assert len(path.read_bytes().splitlines()) == len(trajectories)


def test_lone_surrogates_of_a_model_survive(tmp_path: Path) -> None:
    trajectory = episode((call("say_it_for_echo", text="\ud800"), "\udfff", ANSWER))
    write_trajectories(tmp_path / "t.jsonl", [trajectory])
    assert read_trajectories(tmp_path / "t.jsonl").trajectories == [trajectory]


PAIR = "\ud83d" + "\ude00"
"""Two surrogates that are one character for every reader of JSON."""

ODD_TEXT = st.sampled_from(["", "a", "\ud800", PAIR, "\udfff\ud800", "é", "\u2028", "NaN", "\x00"])
ODD_NUMBERS = st.sampled_from([0, 1, -1.5, 1e400, True, 10**30, 10**400, float("nan"), np.float32(0.1), np.int64(3)])
ODD_VALUES = st.recursive(
    ODD_TEXT | ODD_NUMBERS | st.none() | st.sampled_from([Path("a"), b"b", {1}, (1, 2)]),
    lambda inside: (
        st.lists(inside, max_size=2)
        | st.dictionaries(ODD_TEXT | st.sampled_from([1, None, True, 1.5]), inside, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=300)
@given(data=st.data())
def test_writing_reading_and_writing_again_is_the_identity_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    step = replace(
        EPISODE_OF_TOYS.steps[0],
        action=Action(*(data.draw(ODD_TEXT) for _ in range(5))),
        observation=data.draw(ODD_TEXT),
        reward=data.draw(ODD_NUMBERS),
        reward_terms=data.draw(st.dictionaries(ODD_TEXT, ODD_NUMBERS, max_size=2)),
    )
    rewards = tuple(data.draw(st.lists(ODD_NUMBERS, max_size=2)))
    metadata = data.draw(st.dictionaries(ODD_TEXT, ODD_VALUES, max_size=2))
    trajectory = replace(EPISODE_OF_TOYS, steps=(step,), rewards=rewards, terminated=np.bool_(True), metadata=metadata)  # type: ignore[type-var]
    first, second = (tmp_path_factory.mktemp("runs") / name for name in ("first.jsonl", "second.jsonl"))
    good = episode()
    with TrajectoryWriter(first) as writer:
        writer.write(good)
        with suppress(DataError):
            writer.write(trajectory)
        writer.write(good)
    content = read_trajectories(first)
    assert not content.bad_lines
    assert len(content.trajectories) in (2, 3)
    assert content.trajectories[0] == content.trajectories[-1] == good
    write_trajectories(second, content.trajectories)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rewards": (float("nan"),)}, "is NaN"),
        ({"metadata": {"outcome": {"is_solved": float("nan")}}}, "is NaN"),
        ({"metadata": {1: "a", "1": "b"}}, "would be .* when it is written again"),
        ({"metadata": {"path": Path("a")}}, "not JSON serializable"),
        ({"rewards": (10**400,)}, "too large"),
    ],
)
def test_what_would_be_another_episode_is_refused(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"episode of task 'toy-.*' cannot be written: .*{says}"):
        write_trajectories(tmp_path / "t.jsonl", [replace(EPISODE_OF_TOYS, **changes)])
    assert (tmp_path / "t.jsonl").read_bytes() == b""


@pytest.mark.parametrize("kept", [0, 1, 100, -2, -1])
def test_a_torn_last_line_takes_no_other_with_it(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    write_trajectories(path, [episode()] * 2)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:kept])
    with TrajectoryWriter(path, append=True) as writer:
        writer.write(episode())
    content = read_trajectories(path)
    whole = kept == -1  # its line break alone was missing
    assert content.trajectories == [episode()] * (3 if whole else 2)
    assert len(content.bad_lines) == (0 if whole or not kept else 1)


@pytest.mark.parametrize("kept", [1, 100, -2])
def test_a_torn_last_line_costs_no_other_episode(kept: int, tmp_path: Path) -> None:
    """A killed run leaves one: the episodes before it can be scored and reported, unlike those around other damage."""
    path = tmp_path / "t.jsonl"
    write_trajectories(path, [episode()] * 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + lines[2][:kept])
    with pytest.warns(UserWarning, match="line 3 is not complete, and is left out"):
        assert read_recordings(path) == [episode()] * 2
    path.write_bytes(lines[0] + lines[1][:kept] + b"\n" + lines[2])
    with pytest.raises(DataError, match=r"line 2.*; mend or remove these lines"):
        read_recordings(path)


def test_a_bad_line_is_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    trajectory = episode()
    write_trajectories(path, [trajectory] * 2)
    good, other = path.read_bytes().splitlines()
    cut = json.loads(good)
    del cut["steps"][0]["status"]
    path.write_bytes(b"\n".join([good, b"{", b"[]", b"\xff", json.dumps(cut).encode(), b"", other, good[:100]]))
    content = read_trajectories(path)
    assert content.trajectories == [trajectory] * 2
    assert [line.number for line in content.bad_lines] == [2, 3, 4, 5, 8]
    assert "KeyError: 'status'" in str(content.bad_lines[3])


@settings(max_examples=100)
@given(data=st.data(), wrong=st.none() | st.integers() | st.text(max_size=2) | st.just([1]) | st.just({"a": []}))
def test_a_line_with_any_field_wrong_is_read_or_refused(data: st.DataObject, wrong: object) -> None:
    record: Any = json.loads(encode(EPISODE))
    place = record
    while isinstance(place, dict | list) and place:
        key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else list(range(len(place)))))
        if data.draw(st.booleans()) or not isinstance(place[key], dict | list) or not place[key]:
            place[key] = wrong
            break
        place = place[key]
    try:
        read = read_trajectory(record)
    except DataError:
        return
    assert encode(trajectory_record(read))


def test_appending_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "t.jsonl"
    for append in (False, True, True):
        with TrajectoryWriter(path, append=append) as writer:
            writer.write(episode())
    assert len(read_trajectories(path).trajectories) == 3


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jsonl"):
        read_trajectories(tmp_path / "gone.jsonl")


def test_a_recorded_episode_replays_to_the_same_bytes(tmp_path: Path) -> None:
    env = RecordTrajectories(ToolEnv(ToySuite(), toy_config()), tmp_path / "first.jsonl")
    for actions in ((COUNT, "nonsense", SAY, ANSWER), (GIVE_UP,), (COUNT,) * 6):
        env.reset()
        for action in actions:
            env.step(action)
    env.close()
    again = RecordTrajectories(ToolEnv(ToySuite(), toy_config()), tmp_path / "second.jsonl")
    for trajectory in read_trajectories(tmp_path / "first.jsonl").trajectories:
        seed = trajectory.metadata["episode_seed"]
        again.reset(options={"task": trajectory.task.id, "episode_seed": seed})
        for step in trajectory.steps:
            again.step(step.action.text)
    again.close()
    assert (tmp_path / "first.jsonl").read_bytes() == (tmp_path / "second.jsonl").read_bytes()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_vector_environment_records_every_episode(mode: AutoresetMode, tmp_path: Path) -> None:
    env = RecordVectorTrajectories(
        ToolVectorEnv(2, ToySuite(), toy_config(), autoreset_mode=mode), tmp_path / "t.jsonl"
    )
    env.reset(seed=0)
    for actions in ((COUNT, ANSWER), (ANSWER, COUNT), (COUNT, ANSWER), (GIVE_UP, GIVE_UP)):
        env.step(actions)
    env.close()
    recorded = read_trajectories(tmp_path / "t.jsonl").trajectories
    lengths = [len(trajectory.steps) for trajectory in recorded]
    assert lengths == ([1, 2, 1, 1] if mode is AutoresetMode.NEXT_STEP else [1, 2, 2, 2, 1])


def test_an_episode_that_the_agent_ends_is_recorded(tmp_path: Path) -> None:
    single = RecordTrajectories(ToolEnv(ToySuite(), toy_config()), tmp_path / "single.jsonl")
    vector = RecordVectorTrajectories(ToolVectorEnv(2, ToySuite(), toy_config()), tmp_path / "vector.jsonl")
    pooled = RecordTrajectories(ToolEnv(ToySuite(), toy_config()), tmp_path / "pooled.jsonl")
    for env in (single, vector, pooled):
        env.reset(seed=0)
    single.step(COUNT)
    vector.step([COUNT, COUNT])
    pooled.step(COUNT)
    ended = [single.truncate(), vector.truncate(1), SeparatePool([pooled]).truncate(0)]
    for name, env, info in zip(("single", "vector", "pooled"), (single, vector, pooled), ended, strict=True):
        env.close()
        (recorded,) = read_trajectories(tmp_path / f"{name}.jsonl").trajectories
        assert recorded == info["trajectory"]
        assert (recorded.truncated, len(recorded.steps)) == (True, 1)


def test_an_episode_becomes_a_toolbench_answer_and_comes_back(tmp_path: Path) -> None:
    trajectory = episode((f"Thought: First.\n{COUNT}", call("unknown"), SAY, ANSWER))
    write_answers(tmp_path / "answers", [trajectory])
    (path,) = (tmp_path / "answers").iterdir()
    answer = read_answer(path)
    assert (answer.query_id, answer.method, answer.valid) == (trajectory.task.id, "CoT@1", True)
    assert json.loads(answer.final_answer)["final_answer"] == "done"
    back = from_answer(answer, trajectory.task)
    assert [step.action for step in back.steps] == [step.action for step in trajectory.steps]
    assert [step.status for step in back.steps] == [step.status for step in trajectory.steps]
    assert [step.body for step in back.steps] == [step.body for step in trajectory.steps]
    assert (back.terminated, back.truncated) == (True, False)


def test_an_answer_whose_messages_have_tool_calls_is_the_same(tmp_path: Path) -> None:
    """As StableToolBench writes it since it asks for `tools`: the thought of a call is no message without a call."""
    trajectory = episode((f"Thought: First.\n{COUNT}", "Thought: Hm.", f"Thought: Last.\n{ANSWER}"))
    content = to_answer(trajectory)
    for number, message in enumerate(content["answer_generation"]["train_messages"][-1]):
        if called := message.pop("function_call", None):
            message["tool_calls"] = [{"id": f"call-{number}", "type": "function", "function": called}]
        elif message["role"] == "function":
            message |= {"role": "tool", "tool_call_id": f"call-{number - 1}"}
    path = tmp_path / "1_CoT@1.json"
    path.write_text(json.dumps(content))
    back = from_answer(read_answer(path), trajectory.task)
    names = [(step.action.name, step.action.thought) for step in back.steps]
    assert names == [(trajectory.steps[0].action.name, "First."), ("", "Hm."), (FINISH, "Last.")]


def test_the_end_of_a_budget_counts_the_same_in_files_that_call_it_truncated() -> None:
    now = episode((COUNT,) * 6)
    assert (now.terminated, now.truncated, now.finished) == (True, False, False)
    record = {**trajectory_record(now), "terminated": False, "truncated": True}
    before = read_trajectory(json.loads(encode(record)))
    assert (before.terminated, before.truncated) == (False, True)
    assert result_of(before) == result_of(now)
    assert not result_of(now).finished
    assert result_of(episode((COUNT,) * 5 + (ANSWER,))).finished


@pytest.mark.parametrize("actions", [(COUNT, GIVE_UP), (COUNT,) * 6])
def test_an_episode_without_an_answer_is_no_valid_data(actions: tuple[str, ...]) -> None:
    generation = to_answer(episode(actions))["answer_generation"]
    assert (generation["valid_data"], generation["final_answer"]) == (False, "")


def test_the_converter_of_toolbench_finds_calls_and_answers_in_our_messages() -> None:
    """Its rule: after each `function_call` but `Finish` comes the message with the response."""
    messages = to_answer(episode())["answer_generation"]["train_messages"][-1]
    calls = [index for index, message in enumerate(messages) if "function_call" in message]
    assert [messages[index]["function_call"]["name"] for index in calls][-1] == FINISH == "Finish"
    assert all(messages[index + 1]["content"].startswith('{"error"') for index in calls[:-1])


def test_the_published_answers_are_read(stabletoolbench_data: Path) -> None:
    folder = stabletoolbench_data / "toolbench_answer_examples" / "answer"
    for path in sorted(folder.rglob("*.json")):
        answer = read_answer(path)
        trajectory = from_answer(answer, Task(answer.query_id, path.parent.name, answer.query, ()))
        assert trajectory.terminated == answer.valid
        assert len(trajectory.rewards) == len(trajectory.steps) > 0
        assert all((step.action.error == "") == (step.action.name != "") for step in trajectory.steps)
        assert sum(step.action.name != "" for step in trajectory.steps) > 0


@pytest.mark.parametrize("method", ["virtual_chatgpt_cot", "virtual_chatgpt_dfs"])
def test_the_published_answers_are_written_back_and_converted_as_their_authors_do(
    stabletoolbench_data: Path, method: str
) -> None:
    """A thought and its call are one message, of which ToolEval's converter keeps the call."""
    examples = stabletoolbench_data / "toolbench_answer_examples"
    published = json.loads((examples / "model_predictions_converted" / method / "G1_instruction.json").read_text())
    converted = {answer.query_id: answer for answer in converted_answers(examples, published)}
    thoughts = 0
    for file in sorted((examples / "answer" / method).rglob("*.json")):
        (trajectory,) = read_recordings(file)
        generation = json.loads(file.read_text())["answer_generation"]
        if not generation["valid_data"]:  # the converter draws one of the attempts at random
            continue
        theirs = [spoken(message) for message in generation["train_messages"][-1][2:] if message["role"] != "user"]
        ours = to_answer(trajectory)["answer_generation"]["train_messages"][-1][2:]
        assert [spoken(message) for message in ours] == theirs
        expected = published[trajectory.task.id]["answer"]
        made = converted_answer(trajectory.steps, method_of(trajectory))
        assert {**made, "method": expected["method"]} == expected
        back = from_answer(converted[trajectory.task.id], trajectory.task)
        assert {**converted_answer(back.steps, method_of(trajectory)), "method": expected["method"]} == expected
        thoughts += sum(name != "" and content != "" for role, name, content in theirs if role == "assistant")
    assert thoughts == (1 if method.endswith("dfs") else 0)


def spoken(message: dict[str, Any]) -> tuple[str, str, str]:
    return message["role"], (message.get("function_call") or {}).get("name", ""), message.get("content") or ""


def test_the_published_runs_are_read_with_their_judgements(
    stabletoolbench_data: Path, stabletoolbench_cache: Path, judged_run: Path, tmp_path: Path
) -> None:
    queries = stabletoolbench_data / "solvable_queries/test_instruction"
    suite = StableToolBenchSuite("G1_category", queries=queries, cache=stabletoolbench_cache)
    episodes = read_judged_run(judged_run / "G1_category.json")
    trajectories = [from_judged(episode, suite.find(episode.query_id)) for episode in episodes]
    finished = sum(trajectory.terminated for trajectory in trajectories)
    solved = [trajectory.metadata["outcome"]["is_solved"] for trajectory in trajectories]
    assert 0.5 < finished / len(trajectories) <= 1
    assert all(trajectory.terminated for trajectory, passed in zip(trajectories, solved, strict=True) if passed == 1)
    write_trajectories(tmp_path / "run.jsonl", trajectories)
    assert read_trajectories(tmp_path / "run.jsonl") == (trajectories, [])
    scorer = make_reward("steptool").start(trajectories[0].task)
    for step in trajectories[0].steps:
        scorer.score(replace(step, reward=0.0))
    assert len(scorer.hindsight() or ()) == len(trajectories[0].steps)
