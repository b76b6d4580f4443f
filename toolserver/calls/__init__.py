"""Leaf modules: names, argument JSON and cache keys of calls."""
