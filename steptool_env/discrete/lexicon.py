"""ToolWorld's vocabulary: which names of parameters and fields mean the same.

It knows words, no tasks: the same table for every task of a level. A text policy learns such synonyms from experience.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache

from steptool_env.discrete.words import Lexicon, split, words_of
from toolserver.world.levels import level_of
from toolserver.world.operations.registry import operations_of


@cache
def toolworld_lexicon(level: str) -> Lexicon:
    """The lexicon of a level. Raises `toolserver.errors.ConfigurationError` for an unknown one."""
    meanings: defaultdict[str, set[str]] = defaultdict(set)
    for operation in operations_of(level_of(level)).values():
        named = [(name, slot.label, slot.aka) for name, slot in operation.inputs.items()]
        named += [(name, output.label, output.aka) for name, output in operation.outputs.items()]
        for name, label, aka in named:
            for each in (name, *aka):
                meanings["_".join(split(each))] |= words_of(name) | words_of(label)
    return {name: frozenset(words) for name, words in meanings.items()}
