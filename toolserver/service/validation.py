"""Check the arguments of a call against the documentation of its API."""

from collections.abc import Callable, Mapping
from typing import Any

from toolserver.calls.naming import parameter_name
from toolserver.catalog.api_schema import ApiSpec, Parameter

MAX_DEPTH = 32
"""Maximum nesting of objects and arrays in an argument object, itself included."""


def argument_problem(spec: ApiSpec, arguments: Mapping[str, Any]) -> str:
    """Return the first error in `arguments` as a message; empty without an error.

    Names are compared in their standardised spelling, in which a model sees them. Only types that RapidAPI defines are
    checked, as an HTTP query would carry them: numeric text is a NUMBER, a number is a STRING.
    """
    documented = {parameter_name(parameter.name): parameter for parameter in (*spec.required, *spec.optional)}
    given = {parameter_name(name): value for name, value in arguments.items()}
    for parameter in spec.required:
        if parameter_name(parameter.name) not in given:
            return f'Missing required parameter "{parameter.name}" ({parameter.type}).'
    for name, value in given.items():
        problem = _value_problem(documented.get(name), name, value, documented)
        if problem:
            return problem
    return ""


def _value_problem(parameter: Parameter | None, name: str, value: Any, documented: Mapping[str, Parameter]) -> str:
    if parameter is None:
        expected = ", ".join(documented) or "none"
        return f'Unknown parameter "{name}". Parameters of this API: {expected}.'
    fits = _FITS.get(parameter.type.upper())
    if fits is None or fits(value):
        return ""
    return f'Parameter "{parameter.name}" must be of type {parameter.type}, got {type(value).__name__}: {value!r:.80}.'


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_boolean(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false"))


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float)


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "STRING": _is_scalar,
    "NUMBER": _is_number,
    "BOOLEAN": _is_boolean,
    "ENUM": _is_scalar,
    "DATE (YYYY-MM-DD)": lambda value: isinstance(value, str),
    "ARRAY": lambda value: isinstance(value, list),
    "OBJECT": lambda value: isinstance(value, dict),
}
