"""BFCL's simulated APIs: one state per episode, changed by calls that are dispatched by name and JSON arguments."""

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from copy import deepcopy
from datetime import datetime
from decimal import localcontext
from functools import cache
from math import inf
from threading import Lock
from types import FunctionType, MethodType
from typing import Any, Self

from toolserver.bfcl.data import BfclTask, api_class, bfcl_module, load_apis
from toolserver.calls.simulations import Answer, takes
from toolserver.catalog.api_schema import Outcome

_NOW = datetime(2024, 9, 1, 10, 30)
"""Present of all simulations. BFCL's trading API has it; its travel API reads the clock, and answers would change."""

_LARGEST_POWER = 100_000  # bits
_LARGEST_PRECISION = 1_000  # digits; the reference solutions have 10
_LARGEST_TREE = 20_000  # files and folders, each time that a path leads to them
_LARGEST_PATHS = 1_000_000  # characters of their paths
_WALKS = frozenset({"cp", "du", "find"})
"""Functions that copy or walk a file system. `cp` of a folder shares its subfolders, so few copies make a tree of many
paths."""

_MPMATH = Lock()
"""Lock of mpmath's precision, which BFCL's logarithm sets for the whole process."""


class Simulation:
    """State of the simulated APIs of one task, at first its initial state.

    Equal calls in equal order give equal answers, on every machine and at any time.

    Args:
        task: Task whose classes are simulated.

    Attributes:
        instances: Instances of BFCL's classes by name, as its state checker compares them.
    """

    def __init__(self, task: BfclTask) -> None:
        stateless = bfcl_module("constants.executable_backend_config").STATELESS_CLASSES
        self.instances: dict[str, Any] = {}
        for name in task.classes:
            self.instances[name] = instance = api_class(name)()
            if name not in stateless:
                config = deepcopy(task.config.get(name, {}))
                instance._load_scenario(config, long_context=task.long_context)

    def copy(self) -> Self:
        """Return an independent simulation in the same state."""
        return deepcopy(self)

    def has(self, function: str) -> bool:
        """Return True if one of the task's classes has that documented function."""
        return function in load_apis() and load_apis()[function].tool in self.instances

    def call(self, function: str, arguments: Mapping[str, Any]) -> Answer:
        """Call a function of one of the classes. A failing call is an answer with an error.

        Raises:
            LookupError: None of the task's classes has that documented function.
        """
        method = self._method(function)
        if problem := _costs_too_much(function, arguments):
            return _failed(problem, Outcome.INVALID_ARGUMENTS)
        if function in _WALKS and _is_large(self.instances["GorillaFileSystem"].root):
            return _failed("The file system is too large.", Outcome.FAILED)
        try:
            # BFCL's mathematics set a precision: of the decimal context, or of mpmath.
            with localcontext(), _MPMATH if function == "logarithm" else nullcontext():
                result = method(**deepcopy(dict(arguments)))  # the state holds lists of the arguments, and changes them
                text, value = _as_text(result)
        except Exception as error:  # any error of these classes is an answer, as in BFCL
            fits = takes(method, arguments)
            return _failed(str(error), Outcome.FAILED if fits else Outcome.INVALID_ARGUMENTS)
        if isinstance(result, dict) and result.get("error"):
            return Answer(text, value if len(result) > 1 else "", str(result["error"]), Outcome.CONFLICT)
        return Answer(text, value)

    def _method(self, function: str) -> Callable[..., Any]:
        instance = self.instances[load_apis()[function].tool]
        if function == "verify_traveler_information":
            return MethodType(_with_fixed_date(), instance)
        method: Callable[..., Any] = getattr(instance, function)
        return method


def _as_text(result: Any) -> tuple[str, Any]:
    """Return a result as BFCL shows it to a model, and as a JSON value."""
    if isinstance(result, dict):
        try:
            return json.dumps(result), result
        except (TypeError, ValueError):
            pass  # such as a Decimal
    text = result if isinstance(result, str) else str(result)
    return text, result if result is None or isinstance(result, bool | int | float) else text


def _failed(error: str, outcome: Outcome) -> Answer:
    return Answer(f"Error during execution: {error}", "", error or "the call failed", outcome)


def _costs_too_much(function: str, arguments: Mapping[str, Any]) -> str:
    """Return an error for numbers with which BFCL's mathematics would run for hours; else an empty text."""
    if function == "power":
        base, exponent = arguments.get("base"), arguments.get("exponent")
        if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > _LARGEST_POWER:
            return "The result is too large."
    for name in ("precision", "decimal_places"):
        if _size(arguments.get(name)) > _LARGEST_PRECISION:
            return f"{name} is too large."
    return ""


def _size(value: Any) -> float:
    """Return the absolute value of a number or of a text that Python reads as one; 0 for anything else."""
    try:
        return abs(float(value))
    except OverflowError:
        return inf
    except (TypeError, ValueError):
        return 0.0


def _is_large(root: Any) -> bool:
    """Return True if a walk of BFCL's file system would visit too much."""
    waiting, visited, characters = [(root, 0)], 0, 0
    while waiting:
        folder, length = waiting.pop()
        for name, item in folder.contents.items():
            path = length + 1 + len(name)
            visited, characters = visited + 1, characters + path
            if visited > _LARGEST_TREE or characters > _LARGEST_PATHS:
                return True
            if hasattr(item, "contents"):
                waiting.append((item, path))
    return False


class _FixedDate(datetime):
    @classmethod
    def today(cls) -> Self:
        return cls(_NOW.year, _NOW.month, _NOW.day, _NOW.hour, _NOW.minute)


@cache
def _with_fixed_date() -> FunctionType:
    """Return the method of BFCL's travel API that computes an age, with another clock."""
    method = api_class("TravelAPI").verify_traveler_information
    return FunctionType(method.__code__, {**method.__globals__, "datetime": _FixedDate}, method.__name__)
