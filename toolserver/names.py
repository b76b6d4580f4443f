"""StableToolBench's naming rules (`standardize`, `change_name` of `ToolBench/toolbench/utils.py`)."""

from __future__ import annotations

import re
from functools import lru_cache

_OUTSIDE = re.compile(r"[^\u4e00-\u9fa5^a-zA-Z0-9^_]")
_UNDERSCORES = re.compile(r"_{2,}")
_RESERVED = frozenset({"from", "class", "return", "false", "true", "id", "and"})


@lru_cache(maxsize=65536)
def standardize(name: str) -> str:
    """The name of a tool or API as look-ups and functions use it.

    Characters outside Chinese, ASCII letters, digits, `_` and `^` become `_`; runs of `_` collapse;
    `_` at both ends goes; lower case; `get_` before a leading digit.
    """
    text = _UNDERSCORES.sub("_", _OUTSIDE.sub("_", name)).strip("_").lower()
    return f"get_{text}" if text[:1].isdigit() else text


@lru_cache(maxsize=65536)
def change_name(name: str) -> str:
    """Prefix `is_` to a name that Python or a prompt would misread."""
    return f"is_{name}" if name in _RESERVED else name


@lru_cache(maxsize=4096)
def standardize_category(category: str) -> str:
    """A category as StableToolBench names its folders: space, comma and `/` become `_`."""
    return re.sub(r"[ ,/]", "_", category).replace("__", "_")


def function_name(tool: str, api: str) -> str:
    """The function name offered to a model: `change_name(standardize(api))_for_standardize(tool)`."""
    return f"{change_name(standardize(api))}_for_{standardize(tool)}"
