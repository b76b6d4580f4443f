"""A trained policy as an agent: `policy:FOLDER` in `steptool evaluate`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

from agents.base import Info
from agents.models.bundle import PolicyBundle, load_learner
from agents.models.policy import Policy
from agents.rollout.sampler import Generator, Sampled, Sampling
from agents.seeding import stream_of


class PolicyAgent:
    """Acts with the policy of a checkpoint.

    Args:
        checkpoint: Its folder, or that of a run, of which the newest is taken.
        temperature: 0 takes the most probable token; 1 samples as in training.
        max_action_tokens: Longest action.
        seed: Of the draws. They follow from it, the task, the step and the token's position alone.
        device: Device of the model.
        exact: Whether a CPU computes in double precision. In single precision the rounding of a logit depends on how
            many episodes are computed together, which changed one of 12 episodes of an unsure policy between 1 and 4
            slots; in double precision none changed. Takes half as much time again. Without effect on other
            devices.
    """

    def __init__(
        self,
        checkpoint: str,
        temperature: float = 0.0,
        max_action_tokens: int = 128,
        seed: int = 0,
        device: str = "cpu",
        exact: bool = True,
    ) -> None:
        sampling = Sampling(temperature=temperature, max_action_tokens=max_action_tokens)
        learner = load_learner(Path(checkpoint), device=device)
        self._begin(learner, _exact(learner.policy) if exact else learner.policy, sampling, seed, Path(checkpoint).name)

    @classmethod
    def of(cls, learner: PolicyBundle, sampling: Sampling, name: str = "policy", seed: int = 0) -> PolicyAgent:
        """An agent of a policy in memory, which stays as it is. On a CPU the agent is `exact`."""
        agent = cls.__new__(cls)
        agent._begin(learner, _exact(copy.deepcopy(learner.policy)), sampling, seed, name)
        return agent

    def reset(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> None:
        """Episodes begin: their prompts wait to be read."""
        for slot, observation, info in zip(indices, observations, infos, strict=True):
            if slot in self._last:
                self._generator.free(slot)
            self._last[slot] = None
            self._formats[slot] = str(info.get("format", ""))
            self._generator.start(slot, self._codec.opening(observation, info), stream_of(info))

    def act(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> list[str]:  # noqa: ARG002
        """Sample the next action of each slot. An episode that outgrew the context gets empty texts."""
        for slot, observation in zip(indices, observations, strict=True):
            last = self._last[slot]
            if last is not None and not last.overflow:
                closing = [] if last.stopped else [self._codec.stop_id]
                answer = self._codec.continuation(observation, self._formats[slot])
                self._generator.append(slot, [*closing, *answer])
        sampled = self._generator.act(list(indices))
        self._last.update(zip(indices, sampled, strict=True))
        return [self._codec.action_text(sample.ids) for sample in sampled]

    def _begin(self, learner: PolicyBundle, policy: Policy, sampling: Sampling, seed: int, name: str) -> None:
        self.name = name
        self._codec = learner.codec
        self._generator = Generator(
            policy, context=learner.context, stop_id=learner.codec.stop_id, sampling=sampling, seed=seed
        )
        self._formats: dict[int, str] = {}
        self._last: dict[int, Sampled | None] = {}  # what each slot did last; `None` before its first action


def _exact(policy: Policy) -> Policy:
    """The policy in double precision, where it is on a CPU."""
    return policy.double() if policy.device.type == "cpu" else policy
