"""Stable-Baselines3 on the discrete environment."""
