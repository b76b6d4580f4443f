"""Fine-tuning of policies of ToolWorld on ComplexFuncBench's demonstrations, and their evaluation on its tasks.

A policy from scratch has a context for ToolWorld, too short for ComplexFuncBench's episodes. It has rotary positions,
so its context is extended before the fine-tuning, which trains the further positions. All weights are trained; adapters
are merged into them before, so that policies with and without adapters are trained in the same way.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agents.base import Agent
from agents.evaluation.evaluate import Evaluation, evaluate, tasks_of
from agents.models.bundle import PolicyBundle, build_policy, with_context
from agents.models.config import PolicyConfig
from agents.models.policy import Policy
from agents.models.weights import merged
from agents.registry import make_agent
from agents.rollout.policy_agent import policy_agent
from agents.rollout.types import TokenEpisode
from agents.training.batch import collate
from agents.training.config import OptimConfig, read_config
from agents.training.forward import evaluate_actions
from agents.training.sft import encode_trajectory, train_sft
from agents.training.sft_config import SFTConfig
from steptool_env.errors import ConfigurationError
from steptool_env.types import Trajectory

CONFIG = Path(__file__).with_name("learning.yaml")
"""Settings of the environment and of training on it."""
_SLOTS = 32  # concurrent episodes


@dataclass(frozen=True)
class FineTuning:
    """Settings of the fine-tuning.

    Attributes:
        demonstrations: Number of tasks of the split `train` that the oracle demonstrates, evenly spaced over it.
        epochs: Passes over them.
        batch_episodes: Episodes per optimizer step.
        lr: Learning rate.
        seed: Random seed of the order of the episodes.
        config: YAML file of the environment, the context and the length of an action.
    """

    demonstrations: int
    epochs: int = 2
    batch_episodes: int = 4
    lr: float = 1e-3
    seed: int = 0
    config: Path = CONFIG

    @property
    def settings(self) -> dict[str, Any]:
        """All settings as JSON values, with the content of the file for its path."""
        given = asdict(read_config(self.config))
        chosen = {name: given[name] for name in ("env", "policy", "sampling")}
        values: dict[str, Any] = json.loads(json.dumps({**asdict(replace(self, config=Path())), **chosen}, default=str))
        return values


def named(result: str, config: Path) -> tuple[str, str]:
    """Return the name of a result, with the group of the tasks that `config` has, and that group; empty for all."""
    group = str(read_config(config).env.args.get("group", ""))
    return "_".join(filter(None, (result, group.lower().replace("-", "_")))), group


def oracle_episodes(config: Path, split: str, count: int | None = None) -> list[Trajectory]:
    """Return the oracle's episodes of a split, or of `count` tasks that are evenly spaced over it.

    Raises:
        ConfigurationError: The split has fewer tasks, or ComplexFuncBench's data is missing.
    """
    return _played(config, split, count, make_agent("oracle"))


def greedy_episodes(bundle: PolicyBundle, config: Path, split: str, count: int | None = None) -> list[Trajectory]:
    """Return the episodes of a policy that takes the most probable tokens, of the tasks of `oracle_episodes`."""
    return _played(config, split, count, policy_agent(bundle, read_config(config).sampling, 0.0, exact=False))


def _played(config: Path, split: str, count: int | None, agent: Agent) -> list[Trajectory]:
    env = read_config(config).env
    evaluation = Evaluation(env.id, {**env.args, "split": split}, slots=_SLOTS)
    size = len(tasks_of(evaluation))
    if count is not None and not 1 <= count <= size:
        raise ConfigurationError(f"{count} tasks: {split!r} of ComplexFuncBench has {size}; ask for 1 to {size}")
    chosen = range(size) if count is None else [place * size // count for place in range(count)]
    return evaluate(evaluation, agent, tasks=chosen)


def read_policy(checkpoint: str | Path, config: Path = CONFIG) -> PolicyBundle:
    """Return the policy of a checkpoint with all weights to train, and with the context of `config`."""
    bundle = build_policy(PolicyConfig(checkpoint=str(checkpoint), critic="none", context=0))
    model = merged(bundle.policy.language_model).requires_grad_(True)  # a base model of adapters is frozen
    plain = replace(bundle, policy=Policy(model, "none").eval())
    return with_context(plain, read_config(config).policy.context)


def encode(bundle: PolicyBundle, trajectories: Sequence[Trajectory]) -> list[TokenEpisode]:
    """Return the tokens of recorded episodes."""
    return [encode_trajectory(bundle.codec, trajectory) for trajectory in trajectories]


def fine_tune(
    bundle: PolicyBundle,
    shown: Sequence[Trajectory],
    tuning: FineTuning,
    on_step: Callable[[int, int, dict[str, float]], None] | None = None,
) -> None:
    """Train a policy on demonstrations; for `on_step` see `train_sft`."""
    optim = OptimConfig(lr=tuning.lr)
    config = SFTConfig(tuning.epochs, tuning.batch_episodes, tuning.seed, optim=optim)
    train_sft(bundle, encode(bundle, shown), config, on_step)


def loss_on(bundle: PolicyBundle, episodes: Sequence[TokenEpisode]) -> float:
    """Return the mean negative log-likelihood of the episodes' actions, in nats per action token."""
    batch = collate(episodes, bundle.codec.pad_id, device=bundle.policy.device)
    scores = evaluate_actions(bundle.policy, batch, "log_prob", OptimConfig().tokens_on(bundle.policy.device.type))
    return -float(scores[batch.mask].mean())
