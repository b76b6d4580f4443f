"""Evaluation of agents on suites of tasks, and its result files."""
