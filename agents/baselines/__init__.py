"""Agents without a trained policy: random, replay, the oracle of ToolWorld and demonstrations made with it."""
