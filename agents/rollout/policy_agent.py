"""Trained policies as agents: `policy:FOLDER` in `steptool evaluate`."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from agents.base import Info
from agents.models.bundle import PolicyBundle, load_policy
from agents.models.chat_template import Codec
from agents.models.checkpoint import load_config, load_counters, resolve_checkpoint
from agents.models.policy import Policy
from agents.rollout.config import TOOLWORLD, Sampling
from agents.rollout.engine import RolloutEngine
from agents.rollout.sampler import TokenSampler
from agents.rollout.types import Sampled
from agents.seeding import branch_stream, stream_of


class TrainingEnv(NamedTuple):
    """Environment that a policy was trained in."""

    id: str
    arguments: Mapping[str, Any]


class EngineAgent:
    """Agent whose actions a rollout engine samples.

    Args:
        engine: Engine that samples.
        codec: Codec between text and tokens.
        name: Name of the agent.
        stream: Function that names an episode's random stream from the info of its reset; by default after its task, so
            that a task that is played again has the same episode.
    """

    def __init__(
        self, engine: RolloutEngine, codec: Codec, name: str = "policy", stream: Callable[[Info], str] = stream_of
    ) -> None:
        self.name = name
        self._engine, self._codec, self._stream_of = engine, codec, stream
        self._formats: dict[int, str] = {}
        self._streams: dict[int, str] = {}
        self._last: dict[int, Sampled | None] = {}  # last action of each slot; `None` before the first
        self._kept: set[int] = (
            set()
        )  # slots whose context without the last diversity prompt is that of slot `-1 - slot`

    def reset(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> None:
        """See `Agent.reset`."""
        for slot, observation, info in zip(indices, observations, infos, strict=True):
            self._last[slot] = None
            self._formats[slot] = str(info.get("format", ""))
            self._streams[slot] = self._stream_of(info)
            self._engine.start(slot, self._codec.encode_prompt(observation, info), self._streams[slot])

    def fork(self, source: int, target: int, attempt: int) -> None:
        """See `ForkingAgent.fork`."""
        self._streams[target] = branch_stream(self._streams[source], attempt)
        self._engine.fork(source, target, self._streams[target])
        self._last[target], self._formats[target] = self._last[source], self._formats[source]

    def free(self, slot: int) -> None:
        """See `ForkingAgent.free`."""
        self._engine.free(slot)
        del self._streams[slot], self._last[slot], self._formats[slot]

    def act(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> list[str]:
        """Sample the next action of each slot; the empty text where the context is full."""
        self.ask(indices, observations, infos)
        answers: dict[int, str] = {}
        while len(answers) < len(indices):
            answers |= self.answers()
        return [answers[slot] for slot in indices]

    def ask(self, indices: Sequence[int], observations: Sequence[str], infos: Sequence[Info]) -> None:
        """See `ContinuousAgent.ask`."""
        for slot, observation, info in zip(indices, observations, infos, strict=True):
            if diversity := str(info.get("diversity", "")):
                self._engine.fork(slot, -1 - slot, self._streams[slot])
                self._append(-1 - slot, slot, observation)
                self._kept.add(slot)
                if self._last[slot] is None:
                    self._restart(slot, observation, info, diversity)
                else:
                    self._append(slot, slot, f"{observation}\n{diversity}")
            else:
                self._append(slot, slot, observation)
        self._engine.request(indices)

    def answers(self) -> dict[int, str]:
        """See `ContinuousAgent.answers`."""
        ended = self._engine.decode()
        self._last |= ended
        for slot in self._kept.intersection(ended):  # the prompt that asked for another action is not part of the path
            self._engine.append(-1 - slot, ended[slot].ids)
            self._streams[slot] += "+"
            self._engine.fork(-1 - slot, slot, self._streams[slot])
            self._engine.free(-1 - slot)
            self._kept.remove(slot)
        return {slot: self._codec.decode_action(sampled.ids) for slot, sampled in ended.items()}

    def _append(self, target: int, slot: int, observation: str) -> None:
        """Append the observation after the last action of `slot`, if any, to the context in slot `target`."""
        last = self._last[slot]
        if last is not None and not last.overflow:
            stop = [] if last.stopped else [self._codec.stop_id]
            self._engine.append(target, [*stop, *self._codec.encode_observation(observation, self._formats[slot])])

    def _restart(self, slot: int, observation: str, info: Info, diversity: str) -> None:
        """Start the episode of `slot` with a prompt that asks for an action unlike the earlier ones."""
        asked = {**info, "messages": [*info.get("messages", []), {"role": "user", "content": diversity}]}
        self._engine.start(slot, self._codec.encode_prompt(f"{observation}\n{diversity}", asked), self._streams[slot])


class PolicyAgent(EngineAgent):
    """Agent of a checkpoint.

    Args:
        checkpoint: Folder of a checkpoint or of a run, or `nano-sft`; see `resolve_checkpoint`.
        temperature: Sampling temperature; 0 takes the most probable token, 1 samples as in training.
        max_action_tokens: Maximum length of an action in tokens. Defaults to that of the checkpoint's run, else 128.
        seed: Random seed. Draws depend on it, the task, the step and the token's position only.
        device: Device of the model.
        exact: Compute in double precision on a CPU. In single precision the rounding of a logit depends on the number
            of episodes in a batch, which changed one of 12 episodes of an unsure policy between 1 and 4 slots; in
            double precision none changed. Takes up to twice the time. Without effect on other devices.

    Attributes:
        trained_in: Environment that the policy was trained in; `None` if the checkpoint has no such record.
        training: `settings` of the training, and its `iteration` and `calls` at the checkpoint.
    """

    def __init__(
        self,
        checkpoint: str,
        temperature: float = 0.0,
        max_action_tokens: int | None = None,
        seed: int = 0,
        device: str = "cpu",
        exact: bool = True,
    ) -> None:
        folder = resolve_checkpoint(checkpoint)
        bundle, config = load_policy(folder, device=device), load_config(folder)
        if exact and bundle.policy.device.type == "cpu":
            bundle.policy.double()
        run: Mapping[str, Any] = config.get("sampling", {})
        sampling = Sampling(max_action_tokens or int(run.get("max_action_tokens", Sampling.max_action_tokens)))
        context = min(bundle.context, int(config.get("policy", {}).get("context", 0)) or bundle.context)
        engine = make_sampler(replace(bundle, context=context), sampling, temperature, seed)
        super().__init__(engine, bundle.codec, Path(checkpoint).name)
        self.trained_in = training_env(config)
        counters = load_counters(folder)
        self.training = {"settings": config, "iteration": counters.iteration, "calls": counters.calls}


def policy_agent(
    bundle: PolicyBundle, sampling: Sampling, temperature: float = 1.0, seed: int = 0, *, exact: bool = True
) -> EngineAgent:
    """Return an agent of a policy in memory; see `PolicyAgent` for the arguments."""
    played = in_double(bundle) if exact else bundle
    return EngineAgent(make_sampler(played, sampling, temperature, seed), bundle.codec)


def make_sampler(bundle: PolicyBundle, sampling: Sampling, temperature: float = 1.0, seed: int = 0) -> TokenSampler:
    """Return an engine in this process that samples from a policy."""
    return TokenSampler(
        bundle.policy,
        context=bundle.context,
        stop_id=bundle.codec.stop_id,
        sampling=sampling,
        temperature=temperature,
        seed=seed,
    )


def in_double(bundle: PolicyBundle) -> PolicyBundle:
    """Return a copy in double precision, without the critic; on other devices than a CPU `bundle` itself."""
    if bundle.policy.device.type != "cpu":
        return bundle
    model = copy.deepcopy(bundle.policy.language_model).double()
    return replace(bundle, policy=Policy(model, "none").eval())


def training_env(config: Mapping[str, Any]) -> TrainingEnv | None:
    """Return the environment in the stored settings of `steptool train` or `steptool sft`."""
    env = config.get("env", TOOLWORLD)
    if isinstance(env, Mapping):
        return TrainingEnv(str(env["id"]), env["args"])
    made = config.get("env_args", {})  # of the demonstrations; given ones leave the default, which says nothing
    return TrainingEnv(env, made) if made or env != TOOLWORLD else None
