"""Arguments of `gym.make` that are of another type or size than they may be."""

import gymnasium as gym
import pytest

from steptool_env.errors import ConfigurationError
from steptool_env.integrations.trl import toolworld_environment
from steptool_env.options import is_number

NAMED = {
    "ToolWorld": "split level world_seed faults unsolvable tools world_version reward format",
    "StableToolBench": "suite data queries cache miss faults tools reward format",
}


@pytest.mark.parametrize(("env", "name"), [(env, name) for env, names in NAMED.items() for name in names.split()])
@pytest.mark.parametrize("value", [[], {"a": 1}, 1.5], ids=str)
def test_an_argument_of_another_type_is_refused_by_name(env: str, name: str, value: object) -> None:
    """Also one without a hash, as a list from `--env-args` is."""
    with pytest.raises(ConfigurationError, match=name.removeprefix("world_")):
        gym.make(f"StepTool/{env}-v0", **{name: value})


def test_a_number_of_tools_that_no_memory_holds_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="use an integer from 1 to 1000000"):
        gym.make("StepTool/ToolWorld-v0", tools=10**30)
    assert not is_number(10**400, 0), "too large for a float"


@pytest.mark.parametrize(
    ("env_id", "arguments", "says"),
    [
        ("StepTool/ToolWorld-v0", {"splitt": "train"}, "there is no argument splitt='train'; it takes split, level, "),
        ("StepTool/ToolWorld-v9", {}, r"it is not registered .* there are StepTool/BFCL-v0, "),
        ("tool world", {}, "it is not registered .Malformed environment ID"),
    ],
)
def test_an_adapter_of_another_trainer_names_a_wrong_argument(
    env_id: str, arguments: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^env={env_id}: {says}"):
        toolworld_environment(1, env_id=env_id, **arguments)
