"""StableToolBench's naming rules (`server/utils.py` and `prepare_tool_name_and_url` of its server)."""

from __future__ import annotations

import re
from functools import lru_cache

_OUTSIDE = re.compile(r"[^\u4e00-\u9fa5^a-zA-Z0-9^_]")
_UNDERSCORES = re.compile(r"_{2,}")
_RESERVED = frozenset({"from", "class", "return", "false", "true", "id", "and"})

# Names come from the network: only short ones are remembered, so that the caches stay small.
_CACHED_LENGTH = 256
_CACHED_NAMES = 32768


def standardize(name: str) -> str:
    """The name of a tool or API as look-ups and functions use it.

    Characters outside Chinese, ASCII letters, digits, `_` and `^` become `_`; runs of `_` collapse;
    `_` at both ends goes; lower case; `get_` before a leading digit.
    """
    return _standardize_cached(name) if len(name) <= _CACHED_LENGTH else _standardize(name)


def change_name(name: str) -> str:
    """Prefix `is_` to a name that Python or a prompt would misread."""
    return f"is_{name}" if name in _RESERVED else name


def standardize_category(category: str) -> str:
    """A category as StableToolBench names its folders: space, comma and `/` become `_`, one for a run of them."""
    return _UNDERSCORES.sub("_", category.replace(" ", "_").replace(",", "_").replace("/", "_"))


def function_name(tool: str, api: str) -> str:
    """The function name offered to a model: `change_name(standardize(api))_for_standardize(tool)`.

    It is not cut: the recorded runs show names of up to 141 characters. (OpenAI's endpoints take 64;
    ToolBench's later code cuts to the last 64, which is for the agent that talks to such an endpoint.)
    """
    return f"{change_name(standardize(api))}_for_{standardize(tool)}"


def parameter_name(name: str) -> str:
    """The name of a parameter in the function offered to a model: `id` becomes `is_id`."""
    return change_name(standardize(name))


def api_key(category: str, tool: str, api: str) -> tuple[str, str, str]:
    """Category, tool and API, standardised: what identifies an API, however its names are written.

    As StableToolBench's server reads a request, a tool may carry its `_for_<category>` and an API the
    `_for_<tool>` of its function name. Standardising twice changes nothing.
    """
    if len(category) + len(tool) + len(api) <= _CACHED_LENGTH:
        return _api_key_cached(category, tool, api)
    return _api_key(category, tool, api)


def _standardize(name: str) -> str:
    text = _UNDERSCORES.sub("_", _OUTSIDE.sub("_", name)).strip("_").lower()
    return f"get_{text}" if text[:1].isdigit() else text


def _api_key(category: str, tool: str, api: str) -> tuple[str, str, str]:
    category_key = standardize_category(category)
    suffix = f"_for_{category_key}"
    tool_key = _without(standardize(_without(tool, suffix)), suffix)
    return category_key, tool_key, change_name(_without(standardize(api), f"_for_{tool_key}"))


def _without(name: str, suffix: str) -> str:
    while name.endswith(suffix):
        name = name.removesuffix(suffix)
    return name


_standardize_cached = lru_cache(_CACHED_NAMES)(_standardize)
_api_key_cached = lru_cache(_CACHED_NAMES)(_api_key)
