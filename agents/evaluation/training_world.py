"""Warning for a policy that is used in another world than that of its training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents.evaluation.evaluate import Evaluation, settings_of
from agents.rollout.config import TOOLWORLD

if TYPE_CHECKING:
    from agents.rollout.policy_agent import TrainingEnv

_WORLD = ("level", "world_seed", "tools", "world_version")
"""Arguments of ToolWorld that change the tools."""


def world_warning(name: str, trained: TrainingEnv | None, evaluation: Evaluation, use: str) -> str:
    """Return a warning if a policy was trained in another world than that of `evaluation`, else an empty text.

    Args:
        name: Name of the policy.
        trained: Environment that it was trained in; `None` if that is not known.
        evaluation: Environment that it is used in.
        use: What it is there: `evaluated` or `trained further`.
    """
    if trained is None:
        return ""
    if trained.id != evaluation.env_id:
        return f"Warning: {name} was trained in {trained.id} and is {use} in {evaluation.env_id}."
    if trained.id != TOOLWORLD:
        return ""
    kept = {name: trained.arguments[name] for name in ("split", *_WORLD) if name in trained.arguments}
    before, now = _world(Evaluation(trained.id, kept)), _world(evaluation)
    changed = [f"{name}={now[name]} instead of {before[name]}" for name in before if before[name] != now[name]]
    warning = f"Warning: {name} is {use} in another world than that of its training: {', '.join(changed)}."
    return warning if changed else ""


def _world(evaluation: Evaluation) -> dict[str, Any]:
    """Return the settings of ToolWorld's tools."""
    settings = settings_of(evaluation)["suite"]
    return {name: settings[name] for name in _WORLD}
