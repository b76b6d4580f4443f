"""Judges: verdicts on calls, contributions and solved tasks, by name."""

from typing import Any

from steptool_env.judges.base import Judge, Judgement, PairwiseJudge
from steptool_env.registry import Registry

__all__ = ["JUDGES", "Judge", "Judgement", "PairwiseJudge", "make_judge"]

JUDGES: Registry[Judge] = Registry(
    "judge",
    {
        "gold": "steptool_env.judges.exact:gold_judge",
        "llm": "steptool_env.judges.llm:LlmJudge",
        "recorded": "steptool_env.judges.recorded:RecordedJudge.from_path",
        "rules": "steptool_env.judges.rules:RulesJudge",
        "world": "steptool_env.judges.exact:world_judge",
    },
)


def make_judge(name: str, **options: Any) -> Judge:
    """Return the judge of that name or of `module:factory`. Raises `ConfigurationError` for unknown ones."""
    return JUDGES.make(name, **options)
