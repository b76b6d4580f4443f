"""Throughput and cost of server, environment, rollout and learner."""
