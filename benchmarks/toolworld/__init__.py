"""Figures of ToolWorld: verifier, tasks, cost of worlds."""
