"""Agents without a trained policy: random, replay, heuristics, the oracles and their demonstrations."""
