"""Agents without a trained policy: random, replay, heuristics, the oracle of ToolWorld and its demonstrations."""
