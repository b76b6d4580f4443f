"""Supervised fine-tuning on the actions of demonstrations. RFT is the same on a policy's own verified successes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from agents.models.bundle import PolicyBundle, build_learner
from agents.models.chat_template import Codec
from agents.models.config import PolicyConfig
from agents.models.decoder import SHAPES
from agents.models.tokenizer import train_tokenizer
from agents.rollout.types import Episode
from agents.seeding import derive
from agents.training.batch import Batch, collate, mini_batches
from agents.training.forward import score
from agents.training.optimizer import OptimConfig, Terms, Updater
from steptool_env.episodes.prompts import Opening, opening
from steptool_env.formats import make_format
from steptool_env.types import Trajectory


@dataclass(frozen=True)
class SftConfig:
    """How demonstrations are learnt."""

    epochs: int = 4
    """Passes over the demonstrations."""
    batch_episodes: int = 32
    """Episodes per optimiser step."""
    warmup: float = 0.05
    """Share of the steps in which the learning rate rises; then it falls as a cosine to a tenth."""
    context_weight: float = 0.0
    """Weight of the tokens that are not actions: a policy from scratch learns to read, and to copy, from prompts and
    answers too. 0, for pretrained policies, learns actions alone."""
    seed: int = 0
    """Of the order of the episodes."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(lr=2e-3, weight_decay=0.01))


def train_sft(
    learner: PolicyBundle,
    episodes: Sequence[Episode],
    config: SftConfig,
    on_step: Callable[[int, int, dict[str, float]], None] | None = None,
) -> float:
    """Raise the likelihood of the episodes' actions; of the rest as far as `config.context_weight` says.

    Args:
        learner: Its language model is trained.
        episodes: Demonstrations, e.g. from `encode_trajectory`.
        config: How.
        on_step: Told of each step: its number, how many there are, the metrics (`action_loss` in nats per token).

    Returns:
        The mean loss of the last pass, in nats per action token.

    Raises:
        ValueError: There are no episodes.
    """
    if not episodes:
        raise ValueError("there are no demonstrations to learn from")
    updater = Updater(learner.policy, config.optim)
    parts = math.ceil(len(episodes) / config.batch_episodes)
    total, step, last = parts * config.epochs, 0, 0.0
    for epoch in range(config.epochs):
        shuffle = torch.Generator().manual_seed(derive(config.seed, "sft", epoch))
        last = 0.0
        for picked in mini_batches(len(episodes), parts, shuffle):
            chosen = [episodes[i] for i in picked.tolist()]
            metrics = _step(updater, learner, chosen, config.context_weight, schedule(step, total, config.warmup))
            step += 1
            last += metrics["action_loss"] / parts
            if on_step is not None:
                on_step(step, total, metrics)
    return last


def schedule(step: int, total: int, warmup: float) -> float:
    """Factor of the learning rate: linear warm-up, then a cosine down to a tenth."""
    rising = max(1, round(warmup * total))
    if step < rising:
        return (step + 1) / rising
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))


def new_learner(
    trajectories: Sequence[Trajectory], config: PolicyConfig, vocab_size: int = 2048, seed: int = 0
) -> PolicyBundle:
    """A learner that can read and write what trajectories hold: for a size from scratch, with a tokenizer of its own.

    Args:
        trajectories: Demonstrations; their texts train the tokenizer.
        config: The policy.
        vocab_size: Of a tokenizer of its own.
        seed: Of fresh weights.
    """
    tokenizer = train_tokenizer(_texts(trajectories), vocab_size) if starts_fresh(config) else None
    return build_learner(config, tokenizer, seed)


def starts_fresh(config: PolicyConfig) -> bool:
    """Whether a configuration describes a policy from scratch."""
    return config.model in SHAPES and not config.checkpoint


def encode_trajectory(codec: Codec, trajectory: Trajectory) -> Episode:
    """A recorded episode as tokens, so that a policy can learn its actions.

    Raises:
        KeyError: The trajectory's metadata lacks the rules that it was played by.
    """
    prompt = _opening(trajectory)
    info = {
        "messages": prompt.messages,
        "functions": prompt.functions,
        "format": trajectory.metadata["format"],
    }
    turns = ((step.action.text, step.observation) for step in trajectory.steps)
    return encode_turns(codec, codec.encode_prompt(prompt.text, info), turns, trajectory.rewards, str(info["format"]))


def encode_turns(
    codec: Codec,
    prompt: Sequence[int],
    turns: Iterable[tuple[str, str]],
    rewards: Sequence[float],
    call_format: str = "",
) -> Episode:
    """An episode from its opening tokens and its (action, observation) texts; what follows the last action is cut.

    `call_format` is that of the environment, see `Codec.encode_observation`.
    """
    ids = list(prompt)
    spans: list[tuple[int, int]] = []
    end = len(ids)
    for action, observation in turns:
        tokens = codec.action_ids(action)
        spans.append((len(ids), len(ids) + len(tokens)))
        ids += tokens
        end = len(ids)
        ids += codec.encode_observation(observation, call_format)
    count = sum(stop - start for start, stop in spans)
    return Episode(tuple(ids[:end]), tuple(spans), (0.0,) * count, tuple(rewards))


def distinct(episodes: Iterable[Episode]) -> list[Episode]:
    """Episodes without repetitions, in order: what RFT learns from."""
    return list({episode.ids: episode for episode in episodes}.values())


def _opening(trajectory: Trajectory) -> Opening:
    rules = trajectory.metadata
    return opening(trajectory.task, make_format(str(rules["format"])), str(rules["prompt"]), int(rules["call_budget"]))


def _texts(trajectories: Sequence[Trajectory]) -> Iterator[str]:
    for trajectory in trajectories:
        yield _opening(trajectory).text
        for step in trajectory.steps:
            yield step.action.text
            yield step.observation


def _step(
    updater: Updater, learner: PolicyBundle, episodes: Sequence[Episode], context_weight: float, scale: float
) -> dict[str, float]:
    """One optimiser step. Gives `loss` (what is minimised) and `action_loss` (nats per action token)."""
    whole = [_whole(episode) for episode in episodes] if context_weight else episodes
    batch = collate(whole, learner.codec.pad_id, device=learner.policy.device)
    action = batch.mask.clone()
    if context_weight:
        for row, episode in enumerate(episodes):
            action[row] = False
            for start, end in episode.spans:
                action[row, start - 1 : end - 1] = True
    rows = torch.arange(len(batch), device=learner.policy.device)

    def loss(part: Batch, index: Tensor) -> Terms:
        nats, acted = -score(learner.policy, part).log_prob, action[index][:, : part.step.shape[1]]
        weights = torch.where(acted, 1.0, context_weight)
        return {"loss": (nats * weights).sum(), "action_loss": (nats * acted).sum()}

    metrics = updater.step(batch, rows, loss, scale)
    actions = sum(episode.action_tokens for episode in episodes)
    return metrics | {"action_loss": metrics["action_loss"] * batch.tokens / actions}


def _whole(episode: Episode) -> Episode:
    """The episode as if everything after its first token were one action."""
    return Episode(episode.ids, ((1, len(episode.ids)),), (0.0,) * (len(episode.ids) - 1), (0.0,))
