"""Checks and figures of one GPU in a bounded time: stages, each in a process of its own."""
