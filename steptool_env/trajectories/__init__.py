"""Wrappers around tool environments."""

from steptool_env.trajectories.wrappers import RecordTrajectories, RecordVectorTrajectories

__all__ = ["RecordTrajectories", "RecordVectorTrajectories"]
