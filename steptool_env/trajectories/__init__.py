"""Trajectories on disk: JSON Lines of this project, files of ToolBench and StableToolBench, recording wrappers."""

from steptool_env.trajectories.wrappers import RecordTrajectories, RecordVectorTrajectories

__all__ = ["RecordTrajectories", "RecordVectorTrajectories"]
