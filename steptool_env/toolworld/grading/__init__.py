"""Grading of ToolWorld episodes: answer verification, progress and contribution of calls."""
