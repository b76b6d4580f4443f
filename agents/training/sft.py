"""Supervised fine-tuning on the actions of demonstrations. RFT is the same on a policy's own solved episodes."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from agents.baselines.demonstrations import demonstrate
from agents.errors import ConfigurationError
from agents.evaluation.evaluate import Evaluation, env_of, suite_of
from agents.models import checkpoint
from agents.models.bundle import PolicyBundle, build_policy, context_limit, with_context
from agents.models.chat_template import ChatCodec, Codec
from agents.models.config import PolicyConfig
from agents.models.decoder import SHAPES
from agents.models.tokenizer import train_tokenizer
from agents.reporting.console import EpisodeProgressBar
from agents.rollout.types import TokenEpisode
from agents.seeding import derive
from agents.training.batch import Batch, collate, mini_batches
from agents.training.forward import forward
from agents.training.optimizer import PolicyOptimizer
from agents.training.sft_config import SFTConfig, SFTRunConfig
from steptool_env.episodes.prompts import Prompt, make_prompt, stated_budget
from steptool_env.episodes.records import encode, trajectory_record
from steptool_env.errors import DataError
from steptool_env.formats import make_format
from steptool_env.types import Trajectory

_EPISODES = 3000  # demonstrations by default
_WARMUP = 0.05  # share of the steps in which the learning rate rises

T = TypeVar("T")
OnStep = Callable[[int, int, dict[str, float]], None]
"""(step, number of steps, metrics of the step)."""


class Lengths(NamedTuple):
    """Lengths of the different demonstrations, in tokens, beside the policy's context.

    Attributes:
        episodes: Number of demonstrations.
        beyond: Number of those that are longer than the context, which the policy cannot play to their end.
        longest: Length of the longest.
        context: Context of the policy.
        limit: Longest context that the policy can have; `None` without a limit.
        is_pretrained: True if the policy is a pretrained model, with or without adapters.
    """

    episodes: int
    beyond: int
    longest: int
    context: int
    limit: int | None = None
    is_pretrained: bool = False

    @property
    def remedy(self) -> str:
        """Way to a context that holds all demonstrations."""
        if self.limit is None or self.longest <= self.limit:
            return f"Give --policy.context {self.longest}"
        if self.is_pretrained:
            return f"The model has a context of at most {self.limit:,} tokens: take another one"
        return (
            f"Adapters keep the context of their base model, {self.limit:,} tokens: train all weights "
            f"(--policy.lora-rank 0 and --policy.context {self.longest}, from a checkpoint without adapters)"
        )


def make_demonstrations(config: SFTRunConfig) -> list[Trajectory]:
    """Let the oracle, with mistakes, play episodes; shows their number so far.

    Raises:
        ConfigurationError: The suite has fewer tasks than `config.episodes`, or as `evaluate` does.
    """
    evaluation = Evaluation(config.env, config.env_args, config.episodes, slots=1, seed=config.seed)
    if config.episodes is None:
        with closing(env_of(evaluation)) as env:
            evaluation = replace(evaluation, episodes=min(_EPISODES, len(suite_of(env))))
    with EpisodeProgressBar("demonstrations") as bar:
        return demonstrate(evaluation, config.noise, config.seed, bar.add, bar.expect)


def run_sft(
    config: SFTRunConfig,
    demonstrations: Sequence[Trajectory],
    out: Path,
    on_step: OnStep | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_lengths: Callable[[Lengths], None] = lambda _: None,
    *,
    made: bool = True,
) -> float:
    """Train a policy on demonstrations, after copying exercises where configured, and write a checkpoint to `out`.

    For `on_step`, `stop` and the returned loss see `train_sft`. `on_lengths` is called before the training. Of
    demonstrations that `config` did not make (`made`), the settings in the checkpoint have a digest.

    Raises:
        ConfigurationError: Copying exercises are configured for a policy that is not from scratch.
    """
    if config.copying and not from_scratch(config.policy):
        raise ConfigurationError(
            f"copying={config.copying}: copying random tokens is for a policy from scratch; it would spoil "
            f"{config.policy.checkpoint or config.policy.model}"
        )
    bundle = build_sft_policy(demonstrations, config.policy, config.vocab_size, config.seed)
    episodes = distinct(encode_trajectory(bundle.codec, trajectory) for trajectory in demonstrations)
    on_lengths(lengths_of(episodes, bundle))
    if config.copying:
        exercises = list(copying_episodes(len(bundle.tokenizer), config.copying, config.seed))
        train_sft(bundle, exercises, replace(config.sft, epochs=1), on_step, stop)
    loss = train_sft(bundle, episodes, config.sft, on_step, stop)
    settings = {**asdict(config), "data": "" if made else data_digest(demonstrations), "stopped": stop()}
    checkpoint.save(out, bundle.policy, bundle.tokenizer, config=settings, half=config.half)
    return loss


def data_digest(trajectories: Iterable[Trajectory]) -> str:
    """Return a digest of trajectories: equal ones are the same data, in whatever files."""
    hashed = blake2b(digest_size=8)
    for trajectory in trajectories:
        hashed.update(encode(trajectory_record(trajectory)) + b"\n")
    return hashed.hexdigest()


def lengths_of(episodes: Sequence[TokenEpisode], bundle: PolicyBundle) -> Lengths:
    """Return the lengths of episodes beside the context of a policy."""
    sizes = [len(episode.ids) for episode in episodes]
    beyond, limit = sum(size > bundle.context for size in sizes), context_limit(bundle)
    is_pretrained = isinstance(bundle.codec, ChatCodec)
    return Lengths(len(sizes), beyond, max(sizes, default=0), bundle.context, limit, is_pretrained)


def train_sft(
    bundle: PolicyBundle,
    episodes: Sequence[TokenEpisode],
    config: SFTConfig,
    on_step: OnStep | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> float:
    """Maximize the likelihood of the episodes' actions.

    `on_step` is called after each step, whose `loss` is in nats per action token. `stop` is asked before each step;
    true ends training early. Return the mean loss of the last pass; nan where no step was taken.

    Raises:
        ValueError: There are no episodes.
    """
    if not episodes:
        raise ValueError("there are no demonstrations to learn from")
    optimizer = PolicyOptimizer(bundle.policy, config.optim, weight_decay=config.weight_decay)
    per_pass = math.ceil(len(episodes) / config.batch_episodes)
    total, step_losses = per_pass * config.epochs, list[float]()

    def loss(micro: Batch) -> dict[str, Tensor]:
        return {"loss": -forward(bundle.policy, micro, ("log_prob",))["log_prob"].sum()}

    for step, chosen in enumerate(batches(episodes, config.batch_episodes, config.epochs, config.seed, "sft")):
        if stop():
            break
        batch = collate(chosen, bundle.codec.pad_id, device=bundle.policy.device)
        metrics = optimizer.step(batch, loss, schedule(step, total))
        step_losses.append(metrics["loss"])
        if on_step is not None:
            on_step(step + 1, total, metrics)
    last = step_losses[-per_pass:]
    return sum(last) / len(last) if last else math.nan


def batches(items: Sequence[T], size: int, epochs: int, seed: int, purpose: str) -> Iterator[list[T]]:
    """Batches of about `size` items, pass by pass, each pass in another order."""
    for epoch in range(epochs):
        shuffle = torch.Generator().manual_seed(derive(seed, purpose, epoch))
        for picked in mini_batches(len(items), math.ceil(len(items) / size), shuffle):
            yield [items[i] for i in picked.tolist()]


def schedule(step: int, total: int) -> float:
    """Factor of the learning rate: linear warm-up, then a cosine down to a tenth."""
    rising = max(1, round(_WARMUP * total))
    if step < rising:
        return (step + 1) / rising
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))


def build_sft_policy(
    trajectories: Sequence[Trajectory], config: PolicyConfig, vocab_size: int = 2048, seed: int = 0
) -> PolicyBundle:
    """Build the policy of a configuration; train a tokenizer on the demonstrations for one from scratch.

    A checkpoint of a decoder from scratch gets the context of the configuration where that is longer.
    """
    tokenizer = train_tokenizer(_texts(trajectories), vocab_size) if from_scratch(config) else None
    return with_context(build_policy(config, tokenizer, seed), config.context)


def from_scratch(config: PolicyConfig) -> bool:
    """Return whether a configuration describes a policy from scratch."""
    return config.model in SHAPES and not config.checkpoint


def encode_trajectory(codec: Codec, trajectory: Trajectory) -> TokenEpisode:
    """Encode a recorded episode as tokens. Raises `DataError` if its metadata lacks the settings of the episode."""
    prompt = _opening(trajectory)
    info = {"messages": prompt.messages, "functions": prompt.functions, "format": trajectory.metadata["format"]}
    turns = ((step.action.text, step.observation) for step in trajectory.steps)
    return encode_turns(codec, codec.encode_prompt(prompt.text, info), turns, trajectory.rewards, str(info["format"]))


def encode_turns(
    codec: Codec,
    prompt: Sequence[int],
    turns: Iterable[tuple[str, str]],
    rewards: Sequence[float],
    call_format: str = "",
) -> TokenEpisode:
    """Build an episode of prompt tokens and (action, observation) texts; the observation of the last action is cut.

    `call_format` is that of the environment, see `Codec.encode_observation`.
    """
    ids = list(prompt)
    spans: list[tuple[int, int]] = []
    end = len(ids)
    for action, observation in turns:
        tokens = codec.encode_action(action)
        spans.append((len(ids), len(ids) + len(tokens)))
        ids += tokens
        end = len(ids)
        ids += codec.encode_observation(observation, call_format)
    count = sum(stop - start for start, stop in spans)
    return TokenEpisode(tuple(ids[:end]), tuple(spans), (0.0,) * count, tuple(rewards))


def distinct(episodes: Iterable[TokenEpisode]) -> list[TokenEpisode]:
    """Episodes without repetitions, in order."""
    return list({episode.ids: episode for episode in episodes}.values())


def solved(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """Trajectories that solved their task: the data of rejection-sampling fine-tuning (RFT)."""
    return [t for t in trajectories if t.metadata.get("outcome", {}).get("is_solved") == 1]


def copying_episodes(vocabulary: int, count: int, seed: int, *, chunks: int = 12) -> Iterator[TokenEpisode]:
    """Random chunks of tokens, then the same in another order: after its first token a chunk can be copied.

    The three special tokens are left out. A chunk has 2 to 6 tokens.
    """
    random = torch.Generator().manual_seed(derive(seed, "copying"))
    for _ in range(count):
        sizes = torch.randint(2, 7, (chunks,), generator=random).tolist()
        stock = [torch.randint(3, vocabulary, (size,), generator=random).tolist() for size in sizes]
        yield _repeated(stock, torch.randperm(chunks, generator=random).tolist())


def _repeated(chunks: Sequence[list[int]], order: Sequence[int]) -> TokenEpisode:
    ids = [token for chunk in chunks for token in chunk]
    spans = []
    for chunk in (chunks[place] for place in order):
        spans.append((len(ids) + 1, len(ids) + len(chunk)))
        ids += chunk
    copied = sum(end - start for start, end in spans)
    return TokenEpisode(tuple(ids), tuple(spans), (0.0,) * copied, (0.0,) * len(spans))


def _opening(trajectory: Trajectory) -> Prompt:
    rules = trajectory.metadata
    if missing := [name for name in ("format", "prompt", "call_budget") if name not in rules]:
        raise DataError(
            f"episode of task {trajectory.task.id!r}: its metadata has no {', '.join(missing)}, so its prompt is not "
            "known; take episodes that `steptool evaluate` played"
        )
    return make_prompt(trajectory.task, make_format(str(rules["format"])), str(rules["prompt"]), stated_budget(rules))


def _texts(trajectories: Sequence[Trajectory]) -> Iterator[str]:
    for trajectory in trajectories:
        yield _opening(trajectory).text
        for step in trajectory.steps:
            yield step.action.text
            yield step.observation
