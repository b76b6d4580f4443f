"""StableToolBench's naming rules (`server/utils.py` and `prepare_tool_name_and_url` of its server)."""

import re
from functools import lru_cache

_OUTSIDE = re.compile(r"[^\u4e00-\u9fa5^a-zA-Z0-9^_]")
_UNDERSCORES = re.compile(r"_{2,}")
_RESERVED = frozenset({"from", "class", "return", "false", "true", "id", "and"})

# Names come from the network: only short ones are cached, so that the caches stay small.
_CACHED_LENGTH = 256
_CACHED_NAMES = 32768


def standardize(name: str) -> str:
    """Return the standardised name of a tool or API.

    Characters outside Chinese, ASCII letters, digits, `_` and `^` become `_`; runs of `_` collapse;
    `_` at both ends goes; lower case; `get_` before a leading digit.
    """
    return _standardize_cached(name) if len(name) <= _CACHED_LENGTH else _standardize(name)


def change_name(name: str) -> str:
    """Add the prefix `is_` to a reserved name."""
    return f"is_{name}" if name in _RESERVED else name


def standardize_category(category: str) -> str:
    """Return a category in the form of StableToolBench's folders: runs of space, comma and `/` become one `_`."""
    return _UNDERSCORES.sub("_", category.replace(" ", "_").replace(",", "_").replace("/", "_"))


def function_name(tool: str, api: str) -> str:
    """Return the function name for a model: `change_name(standardize(api))_for_standardize(tool)`.

    Names are not cut; recorded runs have names of up to 141 characters. (OpenAI's endpoints accept 64 characters;
    ToolBench's later code keeps the last 64. An agent for such an endpoint does the same.)
    """
    return f"{change_name(standardize(api))}_for_{standardize(tool)}"


def parameter_name(name: str) -> str:
    """Return the name of a parameter in the function for a model: `id` becomes `is_id`."""
    return change_name(standardize(name))


def api_key(category: str, tool: str, api: str) -> tuple[str, str, str]:
    """Return the identity of an API: standardised category, tool and API name.

    As in StableToolBench's server, a tool may end with `_for_<category>` and an API with the `_for_<tool>` of its
    function name. Standardising twice changes nothing.
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
