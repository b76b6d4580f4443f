"""Wrappers around tool environments."""

from steptool_env.wrappers.record import RecordTrajectories, RecordVectorTrajectories

__all__ = ["RecordTrajectories", "RecordVectorTrajectories"]
