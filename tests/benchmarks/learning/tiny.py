"""Settings of runs of a few seconds."""

from __future__ import annotations

TASKS = {
    "split": "train", "level": "lite", "depths": {"1": 1.0}, "call_budget": 2, "unsolvable": 0.0, "tools": 14,
}  # fmt: skip
SHARED = {
    "episodes": 8,
    "policy": {"context": 1024, "critic": "detached"},
    "env": {"num_envs": 10, "args": TASKS},
    "algorithm": {"epochs": 1, "mini_batches": 3},
    "sampling": {"max_action_tokens": 2},
}
CALLS = 64  # of 8 episodes with 2 calls: 4 iterations, evaluated after the second and the last
