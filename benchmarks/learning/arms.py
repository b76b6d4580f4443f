"""Arms of the learning experiment. They differ only in the settings given here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agents.training.config import Algorithm, TrainConfig, read_config

SHARED = Path(__file__).with_name("learning.yaml")
"""Settings that all arms share."""


@dataclass(frozen=True)
class Arm:
    """Arm of the experiment.

    Attributes:
        algo: Named combination of credit, estimator and loss.
        reward: Kind of reward of the environment.
        critic: True if the estimator needs values. All critics read the policy's hidden states, without gradient.
        about: Description.
    """

    algo: Algorithm
    reward: str
    critic: bool
    about: str


ARMS = {
    "steptool": Arm("steptool", "progress", True, "step-grained PPO, ToolWorld's step rewards"),
    "steptool_paper": Arm("steptool", "steptool", True, "step-grained PPO, the paper's step rewards"),
    "final": Arm("final", "final", True, "the same PPO, final reward alone"),
    "final_dense_sum": Arm("final_dense_sum", "progress", True, "the same PPO, the sum of the step rewards at the end"),
    "grpo": Arm("grpo", "progress", False, "GRPO, the sum of the step rewards"),
    "grpo_final": Arm("grpo", "final", False, "GRPO, final reward alone"),
    "released": Arm("released", "steptool", True, "StepTool's published weighting: the final step has weight 0"),
    "token_gae": Arm("token_gae", "progress", True, "PPO with GAE token by token"),
    "gigpo": Arm("gigpo", "progress", False, "GiGPO"),
    "step_grpo": Arm("step_grpo", "progress", False, "GRPO over the returns to go of steps"),
    "reinforce": Arm("reinforce", "progress", False, "REINFORCE with returns to go"),
}
DEFAULT_ARMS = ("steptool", "steptool_paper", "final", "final_dense_sum", "grpo", "released")


def arm_config(name: str, seed: int, shared: Path, policy: Path, calls: int, out: Path) -> TrainConfig:
    """Return the settings of one run. Runs of one seed have the same tasks, as far as their groups allow.

    `shared` is the YAML file of the settings that all arms share, `policy` the checkpoint that all runs start from,
    `calls` the number of environment calls of training.

    Raises:
        ConfigurationError: The file cannot be read, or holds a wrong field.
    """
    arm = ARMS[name]
    own = {
        "algo": arm.algo,
        "seed": seed,
        "calls": calls,
        "eval_every": 0,  # evaluations and checkpoints are due after calls, not after iterations
        "checkpoint_every": 0,
        "save_total_limit": 1,
        "out": str(out),
        "policy": {"checkpoint": str(policy), "critic": "detached" if arm.critic else "none"},
        "env": {"reward": arm.reward},
        # REINFORCE takes one optimizer step per iteration, whatever the shared file says.
        "algorithm": {"epochs": 1, "mini_batches": 1} if arm.algo == "reinforce" else {},
    }
    return read_config(shared, own)
