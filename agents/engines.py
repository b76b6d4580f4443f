"""The rollout engine that a configuration names."""

from __future__ import annotations

from functools import partial

from agents.engine import RolloutConfig, RolloutEngine
from agents.generation import Generator, Sampling
from agents.http_engine import HttpEngine
from agents.learner import Learner
from agents.static_generation import StaticGenerator
from agents.weights import write_model


def make_engine(config: RolloutConfig, learner: Learner, sampling: Sampling) -> RolloutEngine:
    """An engine that samples with the learner's weights."""
    stop_id, context = learner.codec.stop_id, learner.context
    if config.engine == "http":
        write = partial(write_model, policy=learner.policy, tokenizer=learner.tokenizer)
        return HttpEngine(config, write, context=context, stop_id=stop_id, sampling=sampling)
    kind = StaticGenerator if config.engine == "static" else Generator
    return kind(learner.policy, context=context, stop_id=stop_id, sampling=sampling)
