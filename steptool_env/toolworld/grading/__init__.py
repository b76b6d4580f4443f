"""Grading of ToolWorld episodes: success, progress and contribution of calls."""
