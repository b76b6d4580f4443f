"""tau2's simulated provider and phone: one state per episode, changed by calls of their documented functions."""

import json
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cache
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any, Self

from toolserver.calls.simulations import Answer, takes
from toolserver.catalog.api_schema import Outcome
from toolserver.tau2.data import Tau2Task, load_apis, load_tasks, tau2_module

_LARGEST_NUMBER = 1e9  # of an argument; the reference solutions have 2.0
_ERROR = "Error: "  # as tau2 begins the text of an error
_WORDED_FAILURE = re.compile(
    r"Failed |Error\. |Cannot |No (active )?VPN connection to |You do not have |App '.*' not found on this phone\.\Z",
    re.DOTALL,
)
"""Texts of calls that did nothing, among those that tau2 answers without an error."""


class Simulation:
    """State of provider and phone in one task, at first its initial state.

    Equal calls in equal order give equal answers, on every machine and at any time.

    Args:
        task: Task of tau2.

    Attributes:
        environment: tau2's environment in solo mode.
    """

    def __init__(self, task: Tau2Task) -> None:
        self.environment: Any = deepcopy(_opened(task.id))

    def copy(self) -> Self:
        """Return an independent simulation in the same state."""
        return deepcopy(self)

    def call(self, function: str, arguments: Mapping[str, Any]) -> Answer:
        """Call a function. A failing call is an answer with an error.

        Raises:
            LookupError: There is no such documented function.
        """
        spec = load_apis()[function]
        if any(_is_large(value) for value in arguments.values()):
            return Answer(f"{_ERROR}a number is too large", "", "a number is too large", Outcome.INVALID_ARGUMENTS)
        # tau2 keeps mappings of the arguments in its state.
        call = tau2_module("data_model.message").ToolCall(name=function, arguments=deepcopy(dict(arguments)))
        message = self.environment.get_response(call)
        if message.error:
            # pydantic's messages end in a link to the pages of its version.
            error = message.content.removeprefix(_ERROR).partition("\n    For further information")[0]
            fits = takes(getattr(self._kit(spec.tool), function), arguments)
            outcome = Outcome.FAILED if fits else Outcome.INVALID_ARGUMENTS
            return Answer(message.content, "", error or "the call failed", outcome)
        if _WORDED_FAILURE.match(message.content):
            return Answer(message.content, "", message.content, Outcome.FAILED)
        return Answer(message.content, _value(message.content))

    def state(self) -> str:
        """Return a digest of the state: of tau2's two databases, as it computes them."""
        digest = tau2_module("utils").get_dict_hash
        kits = (self.environment.tools, self.environment.user_tools)
        # tau2 stores settings of the wrong type; pydantic would warn of them.
        return " ".join(digest(kit.db.model_dump(warnings=False)) for kit in kits)

    def met(self, task: Tau2Task) -> tuple[bool, ...]:
        """Return, by tau2's own functions, which assertions of the task the state meets.

        One that tau2 cannot compute, because a setting has the wrong type, is not met.
        """
        return tuple(map(self._holds, task.definition.evaluation_criteria.env_assertions or ()))

    def _holds(self, assertion: Any) -> bool:
        try:
            return bool(self.environment.run_env_assertion(assertion, raise_assertion_error=False))
        except (AttributeError, TypeError, ValueError):
            return False

    def _kit(self, tool: str) -> Any:
        return self.environment.tools if tool == "telecom" else self.environment.user_tools


@cache
def load_checks() -> frozenset[str]:
    """Return the names of the functions that only read the state, as tau2 declares. Raises as `load_tasks` does."""
    read = tau2_module("environment.toolkit").ToolType.READ
    kits = (_environment().tools, _environment().user_tools)
    return frozenset(name for kit in kits for name in kit.tools if kit.tool_type(name) == read)


@cache
def _opened(task_id: str) -> Any:
    """Return tau2's environment at the start of a task, which is not to be changed."""
    environment = deepcopy(_environment())
    start = load_tasks()[task_id].definition.initial_state
    environment.set_state(start.initialization_data, start.initialization_actions, [])
    return environment


@cache
def _environment() -> Any:
    environment = tau2_module("domains.telecom.environment").get_environment(solo_mode=True)
    environment.tools._apply_one_time_charge = MethodType(_with_counted_ids(), environment.tools)
    return environment


@cache
def _with_counted_ids() -> Callable[..., None]:
    """Return the method of tau2 that adds a charge, with ids of new bills that are no random numbers.

    A customer has one draft bill at a time, and bills are never removed, so that their number makes a new id.
    """
    method = tau2_module("domains.telecom.tools").TelecomTools._apply_one_time_charge

    def charge(self: Any, *arguments: Any) -> None:
        made = SimpleNamespace(hex=f"{len(self.db.bills):08x}")
        names = {**method.__globals__, "uuid": SimpleNamespace(uuid4=lambda: made)}
        FunctionType(method.__code__, names, method.__name__)(self, *arguments)

    return charge


def _value(text: str) -> Any:
    """Return an answer as a JSON value; tau2 shows objects as JSON, and texts as they are."""
    if not text.startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is_large(value: Any) -> bool:
    return isinstance(value, int | float) and not abs(value) <= _LARGEST_NUMBER
