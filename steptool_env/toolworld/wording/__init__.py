"""Wording of tasks: `query_of` writes a plan as a query, `Phrases` has the patterns of each operation."""

from steptool_env.toolworld.wording.query import query_of

__all__ = ["query_of"]
