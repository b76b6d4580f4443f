"""The rollout engine that a configuration names."""

from __future__ import annotations

from functools import partial

from agents.models.bundle import PolicyBundle
from agents.models.weights import write_merged
from agents.rollout.engine import RolloutConfig, RolloutEngine
from agents.rollout.http_engine import HttpEngine
from agents.rollout.sampler import Generator, Sampling
from agents.rollout.static_sampler import StaticGenerator


def make_engine(config: RolloutConfig, learner: PolicyBundle, sampling: Sampling) -> RolloutEngine:
    """An engine that samples with the learner's weights."""
    stop_id, context = learner.codec.stop_id, learner.context
    if config.engine == "http":
        write = partial(write_merged, policy=learner.policy, tokenizer=learner.tokenizer)
        return HttpEngine(config, write, context=context, stop_id=stop_id, sampling=sampling)
    kind = StaticGenerator if config.engine == "static" else Generator
    return kind(learner.policy, context=context, stop_id=stop_id, sampling=sampling)
