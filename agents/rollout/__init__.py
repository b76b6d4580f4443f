"""Rollouts: batched sampling from a policy in many environments."""
