"""Who says whether a call succeeded, what it contributed and whether the task is solved."""

from __future__ import annotations

from typing import Any

from steptool_env.judges.base import Judge, Judgement
from steptool_env.registry import Registry

__all__ = ["JUDGES", "Judge", "Judgement", "make_judge"]

JUDGES: Registry[Judge] = Registry(
    "judge",
    {
        "llm": "steptool_env.judges.llm:LlmJudge",
        "recorded": "steptool_env.judges.recorded:RecordedJudge.from_path",
        "rules": "steptool_env.judges.rules:RulesJudge",
        "world": "steptool_env.judges.world:WorldJudge",
    },
)


def make_judge(name: str, **options: Any) -> Judge:
    """The judge of that name, built with `options`. Raises `ConfigurationError` for an unknown name or option."""
    return JUDGES.make(name, **options)
