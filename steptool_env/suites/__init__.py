"""Suites of tasks and the tools that answer them."""
