"""The words of a task: `query_of` puts a plan into sentences, `Phrases` gives the patterns of each operation."""

from steptool_env.toolworld.wording.phrasing import query_of

__all__ = ["query_of"]
