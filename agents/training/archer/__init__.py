"""ArCHer: a critic over steps, trained off-policy from a replay buffer."""
