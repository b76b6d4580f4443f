"""Evaluation of agents on suites of tasks, its metrics and result files."""
