"""Configuration of the episodes of an environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from steptool_env.episodes.observations import check_observation
from steptool_env.episodes.prompts import check_style
from steptool_env.errors import ConfigurationError
from steptool_env.formats import FORMATS, Format, make_format
from steptool_env.rewards import REWARDS, RewardFunction, make_reward
from toolserver.catalog.api_schema import OBSERVATION_LENGTH

DEFAULT_CALL_BUDGET = 12
DEFAULT_OBSERVATION_LENGTH = OBSERVATION_LENGTH


KEY_OPTION = "api_key"
"""Option of rewards and agents that holds an API key. It is written nowhere."""


@dataclass(frozen=True)
class EpisodeConfig:
    """Episode configuration.

    Attributes:
        reward: Reward function.
        format: Call format.
        prompt: Style of the prompt, one of `prompts.STYLES`.
        call_budget: Maximum number of steps of an episode, including `Finish`.
        max_observation_length: Maximum length of a response in an observation, in characters.
        observation: Style of observations, one of `observations.STYLES`.
        reward_settings: Name and options of `reward`, which a snapshot must share; by default the name of its class.
    """

    reward: RewardFunction
    format: Format = field(default_factory=lambda: make_format("react"))
    prompt: str = "toolbench"
    call_budget: int = DEFAULT_CALL_BUDGET
    max_observation_length: int = DEFAULT_OBSERVATION_LENGTH
    observation: str = "budget"
    reward_settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_style(self.prompt)
        check_observation(self.observation)
        _check_count("call_budget", self.call_budget)
        _check_count("max_observation_length", self.max_observation_length)
        if not self.reward_settings:
            kind = type(self.reward)
            object.__setattr__(self, "reward_settings", {"kind": f"{kind.__module__}:{kind.__qualname__}"})

    def record(self) -> dict[str, Any]:
        """Return the settings that are recorded in trajectories; the style of observations where it is not `budget`."""
        recorded = {
            "format": self.format.name,
            "prompt": self.prompt,
            "call_budget": self.call_budget,
            "max_observation_length": self.max_observation_length,
        }
        return recorded if self.observation == "budget" else recorded | {"observation": self.observation}


_JUDGED = ("steptool", "final")


def make_config(
    reward: str,
    reward_options: Mapping[str, Any] | None,
    call_format: str,
    prompt: str,
    call_budget: int,
    max_observation_length: int,
    observation: str = "budget",
    judge: str = "",
) -> EpisodeConfig:
    """Configuration from the arguments of `gym.make`.

    `judge` is the environment's judge for the rewards `steptool` and `final`; by default it is theirs.

    Raises:
        ConfigurationError: An argument is invalid; the message lists valid values.
    """
    REWARDS.factory(reward)
    FORMATS.factory(call_format)
    given = check_options(reward_options)
    options = {"judge": judge, **given} if judge and reward in _JUDGED else given
    made = make_reward(reward, **options)
    settings = {"kind": reward, **REWARDS.settings(reward, **options)}
    settings.pop(KEY_OPTION, None)  # snapshots, results and reports hold the settings
    formatted = make_format(call_format)
    return EpisodeConfig(made, formatted, prompt, call_budget, max_observation_length, observation, settings)


def check_options(options: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return `reward_options`; `{}` for `None`. Raise `ConfigurationError` for anything but a mapping."""
    if options is None:
        return {}
    if isinstance(options, Mapping) and all(isinstance(name, str) for name in options):
        return options
    raise ConfigurationError(
        f"reward_options={options!r}: must map option names to values, "
        'e.g. {"cost": 0.05}; on the command line, as JSON text'
    )


def _check_count(name: str, value: Any) -> None:
    if not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name}={value!r}: must be an integer of at least 1")
