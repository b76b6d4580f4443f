"""Environments by id and arguments, with errors that name the argument and what is possible."""

from collections.abc import Mapping
from inspect import Parameter, signature
from typing import Any, cast

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

import steptool_env  # noqa: F401  registers the environments
from steptool_env.errors import ConfigurationError


def make_env(env_id: str, arguments: Mapping[str, Any], field: str = "env") -> gym.Env[str, str]:
    """Return an environment. Raises `ConfigurationError` for an unknown id (the setting `field`) or wrong arguments."""
    try:
        return cast("gym.Env[str, str]", gym.make(env_id, **arguments, disable_env_checker=True))
    except gym.error.Error as error:  # unregistered, or no id at all
        known = ", ".join(sorted(name for name in gym.registry if name.startswith("StepTool/")))
        raise ConfigurationError(f"{field}={env_id}: it is not registered ({error}); there are {known}") from error
    except TypeError as error:
        raise ConfigurationError(f"{field}={env_id}: {_wrong_arguments(env_id, arguments, error)}") from error


def _wrong_arguments(env_id: str, arguments: Mapping[str, Any], error: TypeError) -> str:
    """Return what is wrong with the arguments of an environment: the first unknown one, else the error."""
    entry = gym.spec(env_id).entry_point
    known = signature(entry if callable(entry) else load_env_creator(str(entry))).parameters
    unknown = [f"{name}={value!r}" for name, value in arguments.items() if name not in known]
    if not unknown or any(each.kind is Parameter.VAR_KEYWORD for each in known.values()):
        return f"it cannot be made with these arguments: {error}; check their names and values"
    return f"there is no argument {unknown[0]}; it takes {', '.join(known)}"
