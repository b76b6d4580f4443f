"""Truth of credit: estimators of advantages beside the true advantage of every call of fixed episodes.

    python -m benchmarks.credit.credit_truth --policy nano-sft --reference 2048

A policy plays episodes in groups of the same task. From the state before every call, copies of the episode are played
on many times, which gives `V(s)` and, from the state after the call, `Q(s, a)`: undiscounted, under the policy itself.
The estimators of `agents.training.advantages` are computed on the same episodes as in training, for two rewards:
`progress`, and `final` (`is_solved` at the last call).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import torch
import tyro
from torch import Tensor, nn

from agents.models.bundle import PolicyBundle, build_policy
from agents.models.config import PolicyConfig
from agents.models.policy import Policy, value_head
from agents.rollout.engine import make_engine
from agents.seeding import derive
from agents.training.advantages import (
    Lineage,
    broadcast_to_tokens,
    make_estimator,
    mean_per_step,
    returns_to_go,
    step_gae,
    tree,
)
from agents.training.batch import Batch, collate, micro_batches
from agents.training.config import AlgorithmConfig, OptimConfig, TrainConfig, read_config
from agents.training.forward import evaluate_actions, forward
from agents.training.optimizer import PolicyOptimizer
from benchmarks.credit.credit_report import REWARDS, TRUTH, Credit, Numbers, report
from benchmarks.credit.forks import Forks, Played, State
from benchmarks.harness.command import run_command
from benchmarks.harness.report import Result
from benchmarks.learning.arms import tasks_of_depth
from steptool_env.env import ToolEnv
from steptool_env.envs.make import make_env
from toolserver.children import worker_pool

GROUP = 8
"""Episodes per task, as in the algorithms that compare groups."""
BRANCHES = 3
"""Branches of a tree at every call, beside the episode itself."""
BATCH = 64
"""Episodes of a gradient that is compared with the reference: those of an iteration."""
ESTIMATORS = {
    "step_gae, lambda 0": AlgorithmConfig(gamma=1.0, gae_lambda=0.0),
    "step_gae, lambda 0.5": AlgorithmConfig(gamma=1.0, gae_lambda=0.5),
    "step_gae, lambda 0.95": AlgorithmConfig(gamma=1.0, gae_lambda=0.95),
    "token_gae": AlgorithmConfig(advantage="token_gae", gamma=1.0, gae_lambda=0.95),
    "reinforce": AlgorithmConfig(advantage="reinforce", gamma=1.0),
    "rloo": AlgorithmConfig(advantage="rloo"),
    "grpo": AlgorithmConfig(advantage="grpo"),
    "step_grpo, gamma 0": AlgorithmConfig(advantage="step_grpo", gamma=0.0),
    "step_grpo, gamma 0.5": AlgorithmConfig(advantage="step_grpo", gamma=0.5),
    "step_grpo, gamma 1": AlgorithmConfig(advantage="step_grpo", gamma=1.0),
    "gigpo": AlgorithmConfig(advantage="gigpo", gamma=1.0),
}
"""Estimators by their names in the tables, undiscounted where nothing else is said, as the truth is."""
_MAX_TOKENS = 2048
_FITS = 3  # times the passes of one iteration of training, because the head starts fresh


@dataclass(frozen=True)
class Options:
    """Compare estimators with true advantages. Example: python -m benchmarks.credit.credit_truth --tasks 16."""

    policy: str = "nano-sft"
    """Checkpoint of the policy, or the name of one that comes with the package."""
    config: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("agents/demo/configs/demo.yaml")
    """YAML file with the tasks (`env`) and the sampling, as for `steptool train`."""
    depth: int = 4
    """Depth of the tasks."""
    tasks: int = 32
    """Number of tasks; each is played 8 times."""
    forks: int = 64
    """Continuations from every state, an even number."""
    critic: int = 512
    """Episodes of other tasks to which the critic is fitted."""
    reference: int = 0
    """Episodes of the reference gradient, on the same tasks; 0 compares no gradients. With them `tasks` is a multiple
    of 8 times `jobs`, so that every gradient is one of 64 episodes."""
    slots: int = 256
    """Episodes that each process plays at the same time."""
    jobs: int = 2
    """Number of processes."""
    seed: int = 0
    """Seed of tasks and sampling."""


Heads = dict[str, dict[str, Tensor]]
"""Weights of the fitted critic by reward."""


def run(options: Options) -> Result:
    """Fit a critic, play the reference, then play, fork, estimate and compare."""
    if min(options.tasks, options.critic, options.jobs, options.slots, options.forks // 2) < 1 or options.forks % 2:
        raise SystemExit("error: --tasks, --critic, --jobs and --slots must be at least 1, --forks even and above 0")
    jobs = range(min(options.jobs, options.tasks))
    whole = options.jobs * BATCH // GROUP
    if options.reference and options.tasks % whole:
        raise SystemExit(
            f"error: --tasks {options.tasks}: with --reference and --jobs {options.jobs} it must be a multiple of "
            f"{whole}, so that every gradient is one of {BATCH} episodes"
        )
    tasks = [list(range(job, options.tasks, len(jobs))) for job in jobs]
    with worker_pool(len(jobs)) as processes:
        fitting = processes.map(
            _critic_episodes, [(options, list(range(options.critic))[job :: len(jobs)]) for job in jobs]
        )
        heads = _fit(_bundle(options), [each for part in fitting for each in part])
        reference: Numbers | None = None
        if options.reference:
            reference = sum(processes.map(_reference, [(options, heads, part) for part in tasks]), np.zeros(1))
        parts = list(processes.map(_measure, [(options, heads, reference, part) for part in tasks]))
    ceilings = {} if reference is None else {r: _reliability(*reference[:, i]) for i, r in enumerate(REWARDS)}
    note = (
        f"policy {options.policy}, tasks of depth {options.depth} of {options.config}, {options.forks} continuations "
        "from every state"
    )
    return report(Credit.merged(parts), ceilings, [note], BATCH)


def _critic_episodes(job: tuple[Options, list[int]]) -> list[Played]:
    """Play episodes of tasks that are not measured."""
    options, numbers = job
    forks = _forks(options, _bundle(options))
    return forks.play([(forks.start(derive(options.seed, "critic", n), n), f"critic/{n}") for n in numbers])


def _reference(job: tuple[Options, Heads, list[int]]) -> Numbers:
    """Gradients of two halves of the reference episodes of some tasks, by reward (2, 2, p)."""
    options, heads, tasks = job
    bundle = _bundle(options)
    forks = _forks(options, bundle)
    each = -(-options.reference // (2 * options.tasks))  # episodes per task and half
    halves = []
    for half in range(2):
        starts = [(_task(options, forks, task), f"reference/{task}/{half}/{n}") for task in tasks for n in range(each)]
        played, gradient = forks.play(starts), torch.zeros(())
        for first in range(0, len(played), BATCH):
            batches = _batches(bundle, heads, played[first : first + BATCH])
            # The return minus the critic's value: unbiased, whatever the critic.
            sets = torch.stack([_gae(batch, gae_lambda=1.0) for batch in batches.values()])
            gradient = gradient + policy_gradients(bundle.policy, batches[REWARDS[0]], sets, _MAX_TOKENS)
        halves.append(gradient.double())
    return cast(Numbers, torch.stack(halves).numpy())


def _measure(job: tuple[Options, Heads, Numbers | None, list[int]]) -> Credit:
    """Play and fork some tasks; the truth and every estimate of each call, and the gradients' cosines."""
    options, heads, reference, tasks = job
    bundle = _bundle(options)
    forks = _forks(options, bundle)
    starts = [(_task(options, forks, task), f"{task}/{n}") for task in tasks for n in range(GROUP)]
    played = forks.play(starts)
    states: dict[tuple[int, tuple[int, ...]], State] = {}
    for state in (state for each in played for state in each.states):
        states.setdefault((state.group, state.ids), state)  # equal states share their continuations
    number = {key: index for index, key in enumerate(states)}
    places = [[number[state.group, state.ids] for state in each.states] for each in played]
    count = options.forks + BRANCHES
    found = forks.play(
        [(state, f"fork/{state.group}/{i}/{n}") for i, state in enumerate(states.values()) for n in range(count)]
    )
    totals = np.array([[each.total, each.solved] for each in found]).reshape(len(states), count, len(REWARDS))
    branches = [found[i * count + options.forks : (i + 1) * count] for i in range(len(states))]
    batches = _batches(bundle, heads, played)
    tokens = {
        reward: {name: make_estimator(config)(batch) for name, config in ESTIMATORS.items()}
        | {"tree": broadcast_to_tokens(_tree(played, places, branches, REWARDS.index(reward)), batch.step_index)}
        for reward, batch in batches.items()
    }
    truth = np.concatenate(
        [_truth(each, totals[place, : options.forks]) for each, place in zip(played, places, strict=True)]
    )
    values = np.concatenate([totals[place, : options.forks].mean(1) for place in places])
    values -= np.concatenate([_earned(each) for each in played])  # the critic predicts the rewards to come
    credit = Credit(
        task=np.concatenate([[float(each.states[0].group)] * len(each.states) for each in played]),
        step=np.concatenate([np.arange(float(len(each.states))) for each in played]),
        truth={r: truth[:, :, i].T for i, r in enumerate(REWARDS)},
        value={r: values[:, i] for i, r in enumerate(REWARDS)},
        critic={r: _by_call(_first(batch), batch) for r, batch in batches.items()},
        estimates={
            r: {
                name: _by_call(mean_per_step(each, batches[r].step_index, batches[r].reward.shape[1]), batches[r])
                for name, each in of.items()
            }
            for r, of in tokens.items()
        },
        calls={
            "episodes": sum(len(each.states) for each in played),
            "continuations": sum(len(each.states) for each in found),
            "branches of trees": sum(len(b.states) for place in places for i in place[1:] for b in branches[i]),
        },
    )
    if reference is not None:
        exact = {
            r: broadcast_to_tokens(_padded(played, truth[:, :, i].mean(1)), batches[r].step_index)
            for i, r in enumerate(REWARDS)
        }
        sets = {r: of | {TRUTH: exact[r]} for r, of in tokens.items()}
        credit.cosines = _cosines(bundle, batches[REWARDS[0]], sets, torch.from_numpy(reference.sum(0)).float())
    return credit


def _truth(played: Played, totals: Numbers) -> Numbers:
    """True advantages of the calls of an episode by each half of the continuations from its states (k, 2, 2).

    The value of the state after the last call is the return of the episode itself.
    """
    calls, forks, _ = totals.shape
    values = totals.reshape(calls, forks // 2, 2, -1).mean(1)
    end = np.broadcast_to(np.array([played.total, played.solved]), (1, *values.shape[1:]))
    return cast(Numbers, np.concatenate([values[1:], end]) - values)


def _earned(played: Played) -> Numbers:
    """Sum of the rewards before each call of an episode, by reward (k, 2)."""
    rewards = np.array([_rewards(played, which) for which in range(len(REWARDS))]).T
    return cast(Numbers, np.cumsum(rewards, axis=0) - rewards)


def _tree(
    played: Sequence[Played], places: Sequence[Sequence[int]], branches: Sequence[Sequence[Played]], which: int
) -> Tensor:
    """Advantages of the episodes' calls in trees (b, k), where branches leave before every call but the first."""
    rows: list[tuple[Played, Lineage]] = [(each, (number % GROUP,)) for number, each in enumerate(played)]
    rows += [
        (branch, (number % GROUP, call, n))
        for number, place in enumerate(places)
        for call in range(1, len(place))
        for n, branch in enumerate(branches[place[call]])
    ]
    reward = torch.zeros(len(rows), max(len(each.states) for each, _ in rows))
    for row, (each, _) in enumerate(rows):
        reward[row, : len(each.states)] = torch.tensor(_rewards(each, which))
    steps = torch.tensor([len(each.states) for each, _ in rows])
    group = torch.tensor([each.states[0].group for each, _ in rows])
    longest = max(len(each.states) for each in played)
    return tree(reward, steps, group, [place for _, place in rows])[: len(played), :longest]


def _rewards(played: Played, which: int) -> list[float]:
    """Rewards of the calls of an episode under a reward of `REWARDS`."""
    return list(played.episode.rewards) if which == 0 else [0.0] * (len(played.states) - 1) + [played.solved]


def _batches(bundle: PolicyBundle, heads: Heads, played: Sequence[Played]) -> dict[str, Batch]:
    """Episodes as a batch with rewards and the critic's values, by reward."""
    policy, batch = bundle.policy, collate([each.episode for each in played], bundle.codec.pad_id)
    hidden = evaluate_actions(policy, batch, "hidden", _MAX_TOKENS)
    found = {}
    for which, name in enumerate(REWARDS):
        reward = torch.zeros_like(batch.reward)
        for row, each in enumerate(played):
            reward[row, : len(each.states)] = torch.tensor(_rewards(each, which))
        value = torch.zeros_like(batch.value)
        if name in heads:
            cast(nn.Module, policy.value_head).load_state_dict(heads[name])
            with torch.no_grad():
                value = policy.head_values(hidden) * batch.mask
        found[name] = replace(batch, reward=reward, value=value)
    return found


def _fit(bundle: PolicyBundle, played: Sequence[Played]) -> Heads:
    """Fit a value head to the returns of episodes, by reward."""
    policy, heads = bundle.policy, {}
    for name, batch in _batches(bundle, {}, played).items():
        policy.value_head = value_head(policy.width, policy.score_dtype)
        returns = broadcast_to_tokens(returns_to_go(batch.reward), batch.step_index)
        optimizer = PolicyOptimizer(policy, OptimConfig(max_tokens=_MAX_TOKENS))
        hidden = evaluate_actions(policy, batch, "hidden", _MAX_TOKENS)
        generator = torch.Generator().manual_seed(0)
        for _ in range(_FITS):
            optimizer.fit_values(replace(batch, returns=returns), hidden, generator)
        heads[name] = {key: tensor.clone() for key, tensor in policy.value_head.state_dict().items()}
    return heads


def _cosines(
    bundle: PolicyBundle, batch: Batch, sets: dict[str, dict[str, Tensor]], reference: Tensor
) -> dict[str, dict[str, list[float]]]:
    """Cosines with the reference gradients (2, p) of the gradient of every set of advantages, one per batch."""
    names = [(reward, name) for reward in REWARDS for name in sets[reward]]
    stacked = torch.stack([sets[reward][name] for reward, name in names])
    found: dict[str, dict[str, list[float]]] = {reward: {name: [] for name in sets[reward]} for reward in REWARDS}
    for rows in torch.split(torch.arange(len(batch)), BATCH):
        part = batch.rows(rows)
        gradients = policy_gradients(bundle.policy, part, stacked[:, rows, : part.step_index.shape[1]], _MAX_TOKENS)
        for (reward, name), gradient in zip(names, gradients, strict=True):
            found[reward][name].append(cosine(gradient, reference[REWARDS.index(reward)]))
    return found


def policy_gradients(policy: Policy, batch: Batch, advantages: Tensor, max_tokens: int) -> Tensor:
    """Return `sum over action tokens of advantage * gradient of log-probability`, one row per set of advantages.

    Args:
        policy: Policy with p parameters of its language model.
        batch: Episodes.
        advantages: Sets of advantages (e, b, j).
        max_tokens: Maximum number of padded tokens of a forward pass.

    Returns:
        Gradients (e, p).
    """
    parameters = [p for p in policy.language_model.parameters() if p.requires_grad]
    total = torch.zeros(len(advantages), sum(p.numel() for p in parameters))
    for rows, micro in micro_batches(batch, max_tokens):
        log_prob = forward(policy, micro, ("log_prob",))["log_prob"]
        for index, advantage in enumerate(advantages[:, rows, : log_prob.shape[1]]):
            gradient = torch.autograd.grad(log_prob, parameters, advantage, retain_graph=index + 1 < len(advantages))
            total[index] += torch.cat([part.flatten() for part in gradient])
    return total


def cosine(one: Tensor, other: Tensor) -> float:
    """Return the cosine between two vectors (p,); 0 where one of them is zero."""
    scale = float(one.norm() * other.norm())
    return float(one @ other) / scale if scale else 0.0


def _gae(batch: Batch, *, gae_lambda: float) -> Tensor:
    return step_gae(batch.reward, batch.value, batch.step_index, gamma=1.0, gae_lambda=gae_lambda)


def _first(batch: Batch) -> Tensor:
    """Value before each call: at its first token (b, k)."""
    first = torch.ones_like(batch.mask)
    first[:, 1:] = batch.step_index[:, 1:] != batch.step_index[:, :-1]
    first &= batch.mask
    found = torch.zeros_like(batch.reward)
    rows, columns = first.nonzero(as_tuple=True)
    found[rows, batch.step_index[rows, columns]] = batch.value[rows, columns]
    return found


def _by_call(values: Tensor, batch: Batch) -> Numbers:
    """Values (b, k) of the real calls, episode by episode (n,)."""
    real = torch.arange(values.shape[1]) < batch.step_count[:, None]
    return cast(Numbers, values[real].double().numpy())


def _padded(played: Sequence[Played], flat: Numbers) -> Tensor:
    """Values (n,) of calls as (b, k)."""
    rows = torch.split(torch.from_numpy(flat).float(), [len(each.states) for each in played])
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)


def _reliability(one: Numbers, other: Numbers) -> float:
    """Reliability of the sum of two halves of a gradient (p,), by Spearman and Brown."""
    shared = cosine(torch.from_numpy(one), torch.from_numpy(other))
    return max(0.0, 2 * shared / (1 + shared))


def _task(options: Options, forks: Forks, task: int) -> State:
    return forks.start(derive(options.seed, "task", task), task)


@cache
def _bundle(options: Options) -> PolicyBundle:
    torch.set_num_threads(1)
    context = _config(options).policy.context
    return build_policy(PolicyConfig(checkpoint=options.policy, critic="detached", context=context))


def _config(options: Options) -> TrainConfig:
    return read_config(options.config, tasks_of_depth(options.config, options.depth))


def _forks(options: Options, bundle: PolicyBundle) -> Forks:
    config = _config(options)
    env = cast(ToolEnv, make_env(config.env.id, config.env.args).unwrapped)
    engine = make_engine(config.rollout, bundle, config.sampling)
    engine.seed(options.seed)
    return Forks(env, engine, bundle.codec, options.slots)


if __name__ == "__main__":
    run_command("credit.credit_truth", Options, run)
