"""Forks: an episode played again from its seed up to a step, and then with other calls."""

from collections.abc import Sequence
from dataclasses import dataclass

from agents.view.environments import Setting, environment
from steptool_env.env import ToolEnv
from steptool_env.errors import ConfigurationError
from steptool_env.types import Step, Trajectory


@dataclass(frozen=True)
class Play:
    """Episode that was played here.

    Attributes:
        trajectory: The episode, with the rewards after its last step.
        latencies: Seconds of the virtual clock that each step took; 0 without injected faults. Shape: (steps,).
        over: True if the episode ended by itself; else the rewards are those of an end after the last step.
        calls_left: Calls that remain in the budget.
        snapshot: State of the episode after the last step, for `ToolEnv.restore`; empty after the end.
    """

    trajectory: Trajectory
    latencies: tuple[float, ...]
    over: bool
    calls_left: int
    snapshot: bytes = b""

    @property
    def total(self) -> float:
        """Sum of the rewards."""
        return sum(self.trajectory.rewards)


@dataclass(frozen=True)
class Fork:
    """Fork of an episode beside the episode itself, both played in one setting.

    Attributes:
        setting: Environment that played both.
        at: Number of recorded calls before the fork.
        recorded: The recorded calls, played again.
        fork: The first `at` recorded calls, then the other ones.
        differences: Numbers (from 1) of the recorded steps whose answer is another one here; empty where the replay
            is exact.
    """

    setting: Setting
    at: int
    recorded: Play
    fork: Play
    differences: tuple[int, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """Steps after the fork."""
        return self.fork.trajectory.steps[self.at :]


def fork_episode(setting: Setting, episode: Trajectory, at: int, calls: Sequence[str], *, rest: bool = False) -> Fork:
    """Play an episode again up to call `at`, then `calls` instead, and with `rest` its recorded calls after `at + 1`.

    Args:
        setting: Environment to play in.
        episode: The recorded episode.
        at: Number of recorded calls to keep.
        calls: Texts of the other calls. Those after the end of the episode are not made.
        rest: Continue with the recorded calls that follow the replaced one.

    Raises:
        ConfigurationError: `at` is out of range, or the environment or task cannot be made.
    """
    actions = [step.action.text for step in episode.steps]
    if not 0 <= at <= len(actions):
        raise ConfigurationError(f"at={at}: the episode has {len(actions)} calls; give 0 to {len(actions)}")
    others = [*actions[:at], *calls, *(actions[at + 1 :] if rest else ())]
    with environment(setting) as env:
        recorded, fork = _play(env, episode, actions), _play(env, episode, others)
    played = recorded.trajectory.steps
    differences = [
        number
        for number, step in enumerate(episode.steps, 1)
        if number > len(played) or _answer(played[number - 1]) != _answer(step)
    ]
    return Fork(setting, at, recorded, fork, tuple(differences))


def _answer(step: Step) -> tuple[str, str, object]:
    return step.observation, step.body, step.status


def _play(env: ToolEnv, episode: Trajectory, actions: Sequence[str]) -> Play:
    seed = episode.metadata.get("episode_seed", 0)
    env.reset(seed=0, options={"task": episode.task.id, "episode_seed": seed})
    latencies = []
    for action in actions:
        if env.episode.over:
            break
        latencies.append(float(env.step(action)[4]["latency"]))
    over, left = env.episode.over, env.episode.calls_left
    snapshot = b"" if over else env.snapshot()
    if not over:
        env.truncate()  # hindsight terms are defined at an end
    return Play(env.episode.trajectory(), tuple(latencies), over, left, snapshot)
