"""Tests of the numeric form: spaces, equality with the text form, and features."""

import copy
import json
import warnings
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env as check_gymnasium_env
from hypothesis import given, settings
from hypothesis import strategies as st

import steptool_env  # noqa: F401  registers the environments
from agents.baselines.oracle import OracleAgent
from steptool_env.discrete import CandidateView, DiscreteToolEnv
from steptool_env.discrete.features import CONTEXT, CONTEXT_NAMES, FEATURES, NAMES
from steptool_env.discrete.values import Form, answer_rows, query_values
from steptool_env.discrete.view import CANDIDATES
from steptool_env.discrete.words import words_of
from steptool_env.envs.toolworld_discrete import toolworld_lexicon
from steptool_env.episodes.observations import STYLES, observe
from steptool_env.errors import ConfigurationError
from steptool_env.formats import make_format
from steptool_env.toolworld import grader_of
from steptool_env.toolworld.answers.slots import Verdict
from steptool_env.toolworld.suite import world_task_of
from steptool_env.types import FINISH, Trajectory

TEXT, NUMERIC = "StepTool/ToolWorld-v0", "StepTool/ToolWorldDiscrete-v0"


def make_numeric(**arguments: Any) -> DiscreteToolEnv:
    env = gym.make(NUMERIC, **arguments).unwrapped
    assert isinstance(env, DiscreteToolEnv)
    return env


def play(env: DiscreteToolEnv, task: int, seed: int, unmasked: bool = False) -> tuple[list[str], dict[str, Any]]:
    """An episode of random candidates (`unmasked`: also empty slots). Gives the texts written and the last info."""
    rng = np.random.default_rng(seed)
    env.reset(seed=seed, options={"task": task, "episode_seed": seed})
    texts = []
    while True:
        action = int(rng.integers(CANDIDATES) if unmasked else rng.choice(np.flatnonzero(env.action_masks())))
        observation, _, terminated, truncated, info = env.step(action)
        assert observation in env.observation_space
        texts.append(info["text"])
        if terminated or truncated:
            return texts, info


def test_both_checkers_accept_it_without_a_warning() -> None:
    sb3 = pytest.importorskip("stable_baselines3.common.env_checker")
    env = gym.make(NUMERIC)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sb3.check_env(env)
        check_gymnasium_env(env.unwrapped)
    env.close()


def test_the_call_budget_is_seen_and_terminates() -> None:
    env = make_numeric(call_budget=2)
    env.reset(seed=0)
    left = CONTEXT_NAMES.index("calls_left")
    ends = [env.step(CANDIDATES - 1) for _ in range(2)]
    assert [float(observation["context"][left]) for observation, *_ in ends] == [0.5, 0.0]
    assert [end[2:4] for end in ends] == [(False, False), (True, False)]


def test_the_same_trajectory_through_both_forms_is_the_same() -> None:
    numeric = make_numeric(split="validation", faults="mild")
    text = gym.make(TEXT, split="validation", faults="mild")
    for task in range(12):
        texts, info = play(numeric, task, seed=task, unmasked=task % 2 == 1)
        text.reset(seed=task, options={"task": task, "episode_seed": task})
        for written in texts:
            *_, expected = text.step(written)
        for key in ("step_rewards", "reward_terms", "outcome", "status", "calls_left"):
            assert info[key] == expected[key]
        ours, theirs = info["trajectory"], expected["trajectory"]
        assert isinstance(ours, Trajectory)
        assert replace(ours, task=theirs.task) == theirs


@pytest.mark.parametrize(("split", "least"), [("depth-1", 0.97), ("depth-2", 0.93)])
def test_what_solves_a_task_is_among_the_candidates(split: str, least: float) -> None:
    env = gym.make(TEXT, split=split)
    tasks = 60
    solvable = sum(_oracle_stays_inside(env, task) for task in range(tasks))
    assert solvable / tasks >= least


def _oracle_stays_inside(env: gym.Env[str, str], task: int) -> bool:
    """Return True if the candidates include every call of the reference solution and a right answer."""
    observation, info = env.reset(seed=task, options={"task": task})
    view, oracle, call_format = (
        CandidateView(info, toolworld_lexicon("lite")),
        OracleAgent(),
        make_format(info["format"]),
    )
    verifier = grader_of(world_task_of(env.unwrapped.episode.task)).verifier  # type: ignore[attr-defined]
    oracle.reset([0], [observation], [info])
    while True:
        (text,) = oracle.act([0], [observation], [info])
        action = call_format.parse(text)
        if action.name == FINISH:
            answers = [each.arguments.get("final_answer") for each in view.candidates if each.name == FINISH]
            return any(
                all(verdict is Verdict.RIGHT for verdict in verifier.check(answer)) for answer in answers if answer
            )
        written = [view.text(index) for index in range(len(view.candidates))]
        if text not in written:
            return False
        observation, _, _, _, info = env.step(text)
        view.advance(written.index(text), observation, info)


def test_features_depend_on_what_a_text_agent_sees_and_on_nothing_else() -> None:
    """Scenes are fed the prompt, texts and statuses alone; the task, its id, rewards and truth make no difference."""
    env = gym.make(TEXT, split="depth-2")
    lexicon = toolworld_lexicon("lite")
    rng = np.random.default_rng(0)
    for task in range(20):
        _, info = env.reset(seed=task, options={"task": task})
        seen = {key: copy.deepcopy(info[key]) for key in ("messages", "functions", "format", "calls_left")}
        full, bare = CandidateView(info, lexicon), CandidateView(seen, lexicon)
        terminated = truncated = False
        while not (terminated or truncated):
            for one, other in zip(full.observation().values(), bare.observation().values(), strict=True):
                np.testing.assert_array_equal(one, other)
            action = int(rng.integers(len(full.candidates)))
            assert full.text(action) == bare.text(action)
            answer, _, terminated, truncated, info = env.step(full.text(action))
            full.advance(action, answer, info)
            bare.advance(action, answer, {"status": info["status"], "calls_left": info["calls_left"]})


def test_the_same_seed_gives_the_same_numbers() -> None:
    first, second = make_numeric(), make_numeric()
    for seed in range(5):
        one, two = first.reset(seed=seed)[0], second.reset(seed=seed)[0]
        for name in one:
            np.testing.assert_array_equal(one[name], two[name])
        assert play(first, seed, seed)[0] == play(second, seed, seed)[0]


def test_the_mask_tells_which_actions_are_calls() -> None:
    env = make_numeric()
    observation, _ = env.reset(seed=3)
    mask = env.action_masks()
    np.testing.assert_array_equal(mask, observation["mask"].astype(bool))
    rows = observation["candidates"].reshape(CANDIDATES, FEATURES)
    assert rows[mask].any(axis=1).all()
    assert not rows[~mask].any()
    assert all(env.view.text(index) for index in np.flatnonzero(mask))
    *_, info = env.step(int(np.flatnonzero(~mask)[0]))
    assert info["text"] == ""
    assert info["status"] == 2  # a text that is not a call costs a step
    assert info["calls_left"] == 11


def test_no_candidate_comes_twice() -> None:
    env = make_numeric(split="depth-3")
    for seed in range(10):
        env.reset(seed=seed)
        for _ in range(3):
            texts = [env.view.text(index) for index in range(len(env.view.candidates))]
            assert len(set(texts)) == len(texts)
            env.step(0)
            if env.text_env.episode.over:
                break


def test_names_and_numbers_fit() -> None:
    assert len(NAMES) == len(set(NAMES)) == FEATURES
    assert len(CONTEXT_NAMES) == len(set(CONTEXT_NAMES)) == CONTEXT


def test_it_has_to_be_reset_first() -> None:
    with pytest.raises(ResetNeeded, match="reset"):
        make_numeric().step(0)


def test_an_unknown_level_is_named() -> None:
    with pytest.raises(ConfigurationError, match="level"):
        gym.make(NUMERIC, level="tiny")


@pytest.mark.parametrize("level", ["standard", "full"])
def test_larger_levels_and_other_formats_work(level: str) -> None:
    env = make_numeric(level=level, format="hermes", tools=60)
    texts, info = play(env, 0, seed=1)
    assert texts
    assert "is_solved" in info["outcome"]


@pytest.mark.parametrize(
    ("query", "value", "form"),
    [
        ("Book the hotel H6986 for Fadi Benoit, arriving on 2031-06-07.", "H6986", Form.ID),
        ("Book the hotel H6986 for Fadi Benoit, arriving on 2031-06-07.", "Fadi Benoit", Form.TEXT),
        ("Move the table booking TB68378 to 26 May 2031.", "2031-05-26", Form.DATE),
        ("Find the value of 4 shares of the company CO5485.", 4, Form.NUMBER),
        ("What is the salary of the job Welder (Juno team)?", "Welder (Juno team)", Form.TEXT),
        ("Tell me the rate of the currency Dalian peso.", "Dalian peso", Form.TEXT),
        ("The difference between Octa & Door and Avenue Depot?", "Avenue Depot", Form.TEXT),
        ("Find every country whose climate is oceanic.", "oceanic", Form.TEXT),
        ("Have Jonas Thorne's order delivered to Talby.", "Jonas Thorne", Form.TEXT),
        ("Take the longer of the books Paper Map and Paper Ember. Find its author.", "Paper Ember", Form.TEXT),
        ("Find the city of Paper Map. Which hotel of Dr. Ivo Kovac is there?", "Dr. Ivo Kovac", Form.TEXT),
    ],
)
def test_constants_are_found_in_queries(query: str, value: object, form: Form) -> None:
    assert (value, form) in [(each.value, each.form) for each in query_values(query)]


@pytest.mark.parametrize("style", STYLES)
def test_responses_are_read_in_every_style_of_observation(style: str) -> None:
    observation = observe('{"error": "", "response": {"city": "Talby"}}', 1024, 3, style)
    assert answer_rows(observation) == ([{"city": "Talby"}], {})


def test_words_are_folded() -> None:
    assert words_of("hotelIds") == words_of("the hotel_id") == {"hotel"}
    assert words_of("Cities of countries") == {"city", "country"}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=8,
)


@settings(max_examples=200)
@given(st.text(), ANYTHING)
def test_no_query_and_no_answer_breaks_a_scene(text: str, response: Any) -> None:
    body = json.dumps({"error": "", "response": response}) + "\nCalls left: 3"
    parameters = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
    functions = [{"name": "find_city_for_x", "description": text, "parameters": parameters}]
    info = {
        "messages": [{"role": "user", "content": text}],
        "functions": functions,
        "format": "react",
        "calls_left": 12,
    }
    view = CandidateView(info, {})
    for observation in (text, body):
        answer_rows(observation)
        view.advance(len(view.candidates) - 1, observation, {"status": 0, "calls_left": 3})
        calls = [index for index, each in enumerate(view.candidates) if each.tool]
        view.advance(calls[0] if calls else 0, observation, {"status": 0, "calls_left": 3})
        seen = view.observation()
        assert np.isfinite(seen["candidates"]).all()
        assert (np.abs(seen["candidates"]) <= 1).all()
        assert (np.abs(seen["context"]) <= 1).all()
