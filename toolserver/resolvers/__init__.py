"""Resolvers of calls: recorded answers, the world, synthetic answers, a language model, the live API."""
