"""SkyRL-Gym's own registry makes the environment, and plays it as its generator does."""

import json
from typing import Any

import pytest

pytest.importorskip("skyrl_gym", reason="needs skyrl-gym: pip install 'steptool-env[skyrl]'")

import skyrl_gym
from skyrl_gym.metrics import aggregate_for_environment

from steptool_env.errors import ConfigurationError, ToolTransportError
from steptool_env.integrations.skyrl import NAME, dataset_rows
from tests.integrations.oracle import play
from tests.server_stub import QuietHandler, running

SPLIT = "depth-2"


def make(row: dict[str, Any], **more: Any) -> Any:
    extras = {key: value for key, value in row.items() if key not in ("prompt", "env_class")} | more
    return skyrl_gym.make(row["env_class"], env_config={}, extras=extras)


def test_episodes_equal_those_of_gymnasium() -> None:
    metrics = []
    for row in dataset_rows(3, split=SPLIT):
        assert row["env_class"] == NAME
        env = make(json.loads(json.dumps(row)))  # as read from a file
        prompt, _ = env.init(row["prompt"])
        assert prompt == row["prompt"]
        assert [message["role"] for message in prompt] == ["system", "user"]
        played = play(row["task"], first=["no call"])[1]
        for text, (observation, reward, terminated, _, info) in played:
            output = env.step(text)
            assert (output["reward"], output["done"]) == (reward, terminated)
            assert output["metadata"]["reward_terms"] == info["reward_terms"]
            if not terminated:
                assert output["observations"] == [{"role": "user", "content": observation}]
        assert output["observations"] == []
        assert output["metadata"]["step_rewards"] == list(info["step_rewards"])
        assert output["metadata"]["outcome"]["is_solved"] == 1
        json.dumps(output["metadata"])
        metrics.append(env.get_metrics())
        assert metrics[-1]["calls"] == len(played)
        env.close()
    assert aggregate_for_environment(NAME, metrics)["is_solved"] == 1


def test_a_limit_of_turns_ends_the_episode_with_a_judgement() -> None:
    (row,) = dataset_rows([0], split=SPLIT)
    (_, (_, first, *_)), (text, _) = play(row["task"], first=["no call"])[1][:2]
    env = make(row, max_turns=2)
    env.init(row["prompt"])
    assert not env.step("no call")["done"]
    output = env.step(text)
    assert output["done"]
    assert output["metadata"]["step_rewards"] == [first, output["reward"]]
    assert output["metadata"]["outcome"]["is_solved"] == 0


def test_unreachable_tools_are_no_reward() -> None:
    with running(QuietHandler) as server:  # answers no call
        (row,) = dataset_rows([0], split=SPLIT, server_url=f"http://127.0.0.1:{server.server_port}")
        env = make(row)
        env.init(row["prompt"])
        with pytest.raises(ToolTransportError):
            env.step(play(row["task"], first=["no call"])[1][1][0])
        env.close()


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ConfigurationError, match="format='hermes'"):
        dataset_rows(1, format="hermes")
    with pytest.raises(ConfigurationError, match="columns env_args, env_id: missing"):
        skyrl_gym.make(NAME, env_config={}, extras={"task": "0"})
