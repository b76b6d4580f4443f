"""Wrappers that write every finished episode to a trajectory file."""

from pathlib import Path
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorEnv, VectorWrapper

from steptool_env.trajectories.trajectories import TrajectoryWriter


class RecordTrajectories(gym.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Writes the trajectory of every finished episode of a tool environment as a line of JSON.

    Args:
        env: Tool environment.
        path: File to write; see `steptool_env.trajectories.trajectories.read_trajectories`.
        append: If True, append to an existing file; otherwise replace it.
    """

    def __init__(self, env: gym.Env[str, str], path: str | Path, append: bool = False) -> None:
        RecordConstructorArgs.__init__(self, path=str(path), append=append)
        gym.Wrapper.__init__(self, env)
        self._writer = TrajectoryWriter(path, append=append)

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step, and write the trajectory at the end of the episode."""
        result = self.env.step(action)
        trajectory = result[4].get("trajectory")
        if trajectory is not None:
            self._writer.write(trajectory)
        return result

    def truncate(self) -> dict[str, Any]:
        """End the episode as `ToolEnv.truncate` does, and write its trajectory."""
        info: dict[str, Any] = self.env.get_wrapper_attr("truncate")()
        self._writer.write(info["trajectory"])
        return info

    def close(self) -> None:
        """Close the file and the environment."""
        self._writer.close()
        super().close()


class RecordVectorTrajectories(VectorWrapper[Any, Any, Any, Any, Any]):
    """`RecordTrajectories` for vector environments, in any autoreset mode.

    Args:
        env: Vector environment of tool environments.
        path: File to write.
        append: If True, append to an existing file; otherwise replace it.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], path: str | Path, append: bool = False) -> None:
        super().__init__(env)
        self._writer = TrajectoryWriter(path, append=append)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step, and write the trajectories of finished episodes, in the order of their environments."""
        result = self.env.step(actions)
        infos = result[4].get("final_info", result[4])
        if "trajectory" in infos:
            for index in np.flatnonzero(infos["_trajectory"]):
                self._writer.write(infos["trajectory"][index])
        return result

    def truncate(self, index: int) -> dict[str, Any]:
        """End the episode of one environment as `ToolVectorEnv.truncate` does, and write its trajectory."""
        inner: Any = self.env
        info: dict[str, Any] = inner.truncate(index)
        self._writer.write(info["trajectory"])
        return info

    def close(self, **kwargs: Any) -> None:
        """Close the file and the environments."""
        self._writer.close()
        super().close(**kwargs)
