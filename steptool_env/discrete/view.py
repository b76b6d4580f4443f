"""View of one episode as candidate actions with features, from the text that a text agent sees."""

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steptool_env.discrete.candidates import Candidate, calls_of
from steptool_env.discrete.features import CONTEXT, FEATURES, History, context_features, describe
from steptool_env.discrete.results import ToolResult, finish_candidates, pages_of
from steptool_env.discrete.tools import intents_of, read_tools
from steptool_env.discrete.values import ObservedValue, answer_rows, query_values
from steptool_env.discrete.words import Lexicon, query_words
from steptool_env.formats import make_format

CANDIDATES = 64
"""Number of slots for candidates. Further ones are dropped, answers from the oldest results first."""

NO_ACTION = ""
"""Text of an action whose slot is empty; an invalid call."""


class CandidateView:
    """Lists the candidate actions of one episode and computes their features.

    Its inputs are those of a text agent: the `info` of `reset` (functions, messages, format) and the following texts
    and status codes. It has no access to the task, so features cannot leak the reference solution.

    Args:
        info: `info` of `reset`.
        lexicon: Synonyms of field names; see `envs.toolworld_discrete.toolworld_lexicon`.
    """

    def __init__(self, info: Mapping[str, Any], lexicon: Lexicon) -> None:
        query = str(info["messages"][-1]["content"]).partition("\nCalls left")[0].strip()
        words = query_words(query)
        self._format = make_format(info["format"])
        self._lexicon = lexicon
        self._constants = query_values(query)
        self._tools = read_tools(info["functions"], lexicon)
        self._answers: list[ToolResult] = []
        self._history = History(words, intents_of(words), self._constants, info["calls_left"], info["calls_left"])
        self.candidates: list[Candidate] = []
        self._list()

    def text(self, action: int) -> str:
        """Return the candidate at `action` as text; `NO_ACTION` for an empty slot."""
        if not 0 <= action < len(self.candidates):
            return NO_ACTION
        candidate = self.candidates[action]
        return self._format.render(candidate.name, json.dumps(candidate.arguments, ensure_ascii=False))

    def advance(self, action: int, observation: str, info: Mapping[str, Any]) -> None:
        """Record the environment's response to the candidate at `action`."""
        candidate = self.candidates[action] if 0 <= action < len(self.candidates) else None
        rows, beside = answer_rows(observation)
        self._history.record(candidate, info["status"], info["calls_left"], bool(rows))
        if candidate is not None and candidate.tool is not None and rows:
            self._answer(candidate, rows, pages_of(beside))
        self._list()

    def observation(self) -> dict[str, NDArray[Any]]:
        """Return the features of the candidates, of the episode, and the mask of occupied slots.

        Shapes: `candidates` (CANDIDATES * FEATURES,), `context` (CONTEXT,), `mask` (CANDIDATES,).
        """
        described = np.zeros((CANDIDATES, FEATURES), dtype=np.float32)
        rows = describe(self.candidates, self._answers, self._history)
        described[: len(rows)] = rows
        context = np.asarray(context_features(self._history, self._answers), dtype=np.float32)
        assert context.shape == (CONTEXT,)
        return {"candidates": described.ravel(), "context": context, "mask": self.mask().astype(np.int8)}

    def mask(self) -> NDArray[np.bool_]:
        """Return the mask of occupied slots. Shape: (CANDIDATES,)."""
        return np.arange(CANDIDATES) < len(self.candidates)

    def _answer(self, candidate: Candidate, rows: list[dict[str, Any]], pages: int) -> None:
        """Store a result; append a further page to the rows of the earlier ones."""
        step = self._history.step - 1
        if candidate.page > 1:
            for index, earlier in enumerate(self._answers):
                if earlier.call.name == candidate.name and earlier.next_page() == candidate:
                    merged = (*earlier.rows, *rows)
                    self._answers[index] = replace(earlier, rows=merged, page=candidate.page, step=step)
                    return
        self._answers.append(ToolResult(candidate, step, tuple(rows), pages))

    def _list(self) -> None:
        """Update the candidates: further pages, calls (the best of every function first), then final answers."""
        values = self._values()
        pages = [page for answer in self._answers if (page := answer.next_page()) is not None]
        ranks = zip_longest(*(calls_of(tool, values) for tool in self._tools))
        calls = [call for rank in ranks for call in rank if call is not None]
        found: dict[tuple[str, str], Candidate] = {}
        for candidate in (*pages, *calls[: CANDIDATES // 2], *finish_candidates(self._answers, self._lexicon)):
            found.setdefault((candidate.name, repr(candidate.arguments)), candidate)
        self.candidates = list(found.values())[:CANDIDATES]

    def _values(self) -> list[ObservedValue]:
        """Return all distinct values so far that can be arguments."""
        values = {(value.value, value.form, value.about): value for value in self._constants}
        for answer in self._answers:
            for value in answer.values(self._lexicon):
                values[value.value, value.form, value.about] = value
        return list(values.values())
