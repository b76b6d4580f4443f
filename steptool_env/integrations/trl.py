"""Tasks as environments of TRL's `GRPOTrainer`: the functions of a task are tools of the model's own chat template.

TRL reads the tools of an environment from the methods of its class, before any task is known. So every set of functions
has a class of its own, and the data set names the class of each task. This module itself needs no package of TRL.
"""

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal

from steptool_env.errors import ConfigurationError
from steptool_env.integrations.attempts import Attempt, make_text_env, task_rows

OVER = "The episode is over."
"""Answer to a call after the end of the episode. The environment does not see such a call."""

_TYPES = {"integer": int, "number": float, "boolean": bool, "array": list, "object": dict}
_SECTION = re.compile(r"\b(Args|Returns|Raises):")


class TaskEnvironment:
    """One episode at a time, as `GRPOTrainer` plays it. Subclasses add a method per function.

    A call whose arguments are invalid is a step that failed, as in the text environment. A rollout that stops before
    the end of its episode is judged on what was done.
    """

    _env_id: ClassVar[str]
    _arguments: ClassVar[Mapping[str, Any]]

    def __init__(self) -> None:
        self._attempt: Attempt | None = None

    def reset(self, task: str | int, episode_seed: int = 0, **_: Any) -> None:
        """Start an episode.

        Args:
            task: Id or index of the task; a column of the data set.
            episode_seed: Seed of the tools' state; a column, too, if the data set has it.
        """
        if self._attempt is None:  # TRL makes an instance per class only to read its methods
            self._attempt = Attempt(self._env_id, self._arguments)
        self._attempt.reset(task, episode_seed)

    @property
    def attempt(self) -> Attempt:
        """The current episode, with its rewards. Raises `ConfigurationError` before the first reset."""
        if self._attempt is None:
            raise ConfigurationError("the environment has no episode: call reset(task=...) first")
        return self._attempt

    def _call(self, name: str, arguments: Mapping[str, Any]) -> str:
        attempt = self.attempt
        return OVER if attempt.over else attempt.call(name, arguments).observation


def final_rewards(environment: TaskEnvironment) -> tuple[float, ...] | None:
    """End the episode, and return the final reward of each of its calls; `None` if the tools were unreachable."""
    environment.attempt.end()
    return None if environment.attempt.lost else environment.attempt.rewards


def episode_reward(environments: Sequence[TaskEnvironment], **_: Any) -> list[float | None]:
    """Return the sum of the step rewards of each episode: an entry of `reward_funcs`.

    An episode whose tools were unreachable is `None`, which TRL gives no advantage.
    """
    return [_total(environment) for environment in environments]


@dataclass(frozen=True)
class ToolSet:
    """Factory of the environments of one set of functions. It pickles, as trainers with worker processes need.

    Attributes:
        env_id: Id of the text environment.
        arguments: Arguments of `gym.make`, as JSON.
        functions: The functions, as JSON.
        get_reward: The class has a method `get_reward`.
    """

    env_id: str
    arguments: str
    functions: str
    get_reward: bool

    @property
    def name(self) -> str:
        """Name of the class, and its value in the column `environment`: equal for equal functions."""
        return f"Tools_{hashlib.blake2b(self.functions.encode(), digest_size=6).hexdigest()}"

    def __call__(self) -> TaskEnvironment:
        """Make an environment."""
        return _class_of(self)()


class Environments(dict[str, ToolSet]):
    """Value of `environment_factory`: the sets of functions by name.

    Attributes:
        rows: Rows of the data set, one per task: `prompt` (chat messages), `environment` (the set of functions) and
            `task` (its id).
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []


def toolworld_environment(
    tasks: int | Iterable[int | str] = 64,
    *,
    env_id: str = "StepTool/ToolWorld-v0",
    get_reward: bool = True,
    **arguments: Any,
) -> Environments:
    """Return tasks for `GRPOTrainer(environment_factory=..., train_dataset=Dataset.from_list(....rows))`.

    Args:
        tasks: Ids or indices of the tasks, or the number of the first ones.
        env_id: Id of a text environment.
        get_reward: Give the classes a method `get_reward`, the sum of the step rewards. TRL then logs a reward per
            class; with many sets of functions, leave it out and give `reward_funcs=episode_reward`.
        arguments: Arguments of `gym.make`, such as `split`. They are JSON values.

    Raises:
        ConfigurationError: An argument or a task is invalid, a parameter's name cannot be one of Python, or a later
            turn of a task adds functions: TRL reads them before the episode, and to offer them earlier is another task.
    """
    if "format" in arguments:
        raise ConfigurationError(f"format={arguments['format']!r}: the chat template writes the calls; leave it out")
    given = {**arguments, "format": "openai"}
    env = make_text_env(env_id, given)
    environments = Environments()
    for row, functions in task_rows(env, tasks):
        task = env.episode.task
        if late := [spec.function_name for turn in task.turns for spec in turn.tools]:
            raise ConfigurationError(
                f"tasks: task {task.id!r} of {task.suite!r} offers {late[0]} in a later turn only, and TRL cannot add "
                "tools during an episode; leave such tasks out, for BFCL with category='base' or 'miss_param'"
            )
        factory = ToolSet(env_id, json.dumps(given), json.dumps(functions, ensure_ascii=False), get_reward)
        environments.setdefault(factory.name, factory)
        environments.rows.append({**row, "environment": factory.name})
    env.close()
    return environments


@cache
def _class_of(tools: ToolSet) -> type[TaskEnvironment]:
    """Make the class of a set of functions."""
    members: dict[str, Any] = {"_env_id": tools.env_id, "_arguments": json.loads(tools.arguments)}
    members |= {function["name"]: _method(function) for function in json.loads(tools.functions)}
    if tools.get_reward:
        members["get_reward"] = _total
    return type(tools.name, (TaskEnvironment,), members)


def _total(self: TaskEnvironment) -> float | None:
    """Return the sum of the step rewards; `None` if the tools were unreachable."""
    rewards = final_rewards(self)
    return None if rewards is None else sum(rewards)


def _method(function: Mapping[str, Any]) -> Callable[..., str]:
    """Return the method of a function, with the signature and docstring from which TRL makes the tool's schema."""
    name = function["name"]

    def method(environment: TaskEnvironment, /, **arguments: Any) -> str:
        return environment._call(name, arguments)

    properties: dict[str, Any] = function["parameters"]["properties"]
    required = function["parameters"]["required"]
    hints = {parameter: _hint(schema) for parameter, schema in properties.items()}
    names = [*(each for each in properties if each in required), *(each for each in properties if each not in required)]
    if odd := [each for each in names if not each.isidentifier() or each in ("self", "cls")]:
        raise ConfigurationError(f"function {name}: parameter {odd[0]!r} cannot be one of a Python method")
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)]
    for each in names:
        default = inspect.Parameter.empty if each in required else None
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(each, kind, default=default, annotation=hints[each]))
    described = "\n".join(f"    {each}: {_description(each, properties[each])}" for each in names)
    text = _one_line(function["description"]) or name
    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"{text}\n\nArgs:\n{described}\n" if described else text
    method.__annotations__ = {**hints, "return": str}
    method.__signature__ = inspect.Signature(parameters, return_annotation=str)  # type: ignore[attr-defined]
    return method


def _hint(schema: Mapping[str, Any]) -> Any:
    """Return the type of a parameter. Arguments are not converted: the environment reads what the model wrote."""
    if schema.get("enum"):
        return Literal[tuple(schema["enum"])]
    return _TYPES.get(schema["type"], str)


def _description(name: str, schema: Mapping[str, Any]) -> str:
    """Return a parameter's description, never empty: without one, TRL would take the next parameter's."""
    text = _one_line(schema.get("description", "")) or name.replace("_", " ")
    return f"{text}, e.g. {json.dumps(schema['example_value'])}" if "example_value" in schema else text


def _one_line(text: str) -> str:
    """Return a text without line breaks, and without words that begin a section of a docstring."""
    return _SECTION.sub(r"\1 -", " ".join(text.split()))
