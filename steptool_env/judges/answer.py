"""What an episode answers its user."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from toolserver.schemas import StatusCode

from steptool_env.types import Step


def final_answer(steps: Sequence[Step]) -> str:
    """The text given to the user by the last step; empty without a `Finish` that gives an answer."""
    if not steps or steps[-1].status is not StatusCode.FINAL_ANSWER:
        return ""
    try:
        arguments = orjson.loads(steps[-1].action.arguments)
    except orjson.JSONDecodeError:
        return ""
    return str(arguments.get("final_answer") or "") if isinstance(arguments, dict) else ""
