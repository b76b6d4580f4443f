"""Laps of recorded episodes in the environment of the source tree on `PYTHONPATH`; a child process of `compare`.

It imports only Gymnasium and `steptool_env`, and uses only their public interface, so it also runs in older trees.
"""

import json
import sys
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode

import steptool_env  # noqa: F401  registers the environments

Script = tuple[str, int, list[str]]  # task, episode seed, actions


def lap(env: Any, scripts: list[Script], side_by_side: bool) -> dict[str, float]:
    """Play each script once. Return the number of steps, and the seconds and processor seconds in `step`.

    Scripts that are played `side_by_side`, one per slot of a vector environment, have equally many actions.
    """
    steps, seconds, cpu = 0, 0.0, 0.0
    for task, seed, actions in [tuple(zip(*scripts, strict=True))] if side_by_side else scripts:
        env.reset(options={"task": task, "episode_seed": seed})
        inputs = list(zip(*actions, strict=True)) if side_by_side else actions
        begin, used = perf_counter(), process_time()
        for each in inputs:
            env.step(each)
        seconds, cpu = seconds + perf_counter() - begin, cpu + process_time() - used
        steps += len(inputs) * (len(scripts) if side_by_side else 1)
    return {"steps": steps, "seconds": seconds, "cpu": cpu}


def main(laps: Path, url: str) -> None:
    """Play one lap of the file per line of the standard input, in a vector if there is a server. Print it as JSON."""
    arguments: dict[str, Any] = {"level": "lite", "server_url": url or None}
    waiting = json.loads(laps.read_text())
    if url:
        vector: dict[str, Any] = {"vectorization_mode": "vector_entry_point", "autoreset_mode": AutoresetMode.DISABLED}
        env: Any = gym.make_vec("StepTool/ToolWorld-v0", num_envs=len(waiting[0]), **vector, **arguments)
    else:
        env = gym.make("StepTool/ToolWorld-v0", disable_env_checker=True, **arguments)
    for _ in sys.stdin:
        print(json.dumps(lap(env, waiting.pop(0), side_by_side=bool(url))), flush=True)
    env.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
