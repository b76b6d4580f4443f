"""One episode as a list of candidate actions with their features, followed by what a text agent sees."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steptool_env.discrete.candidates import Candidate, calls_of
from steptool_env.discrete.features import CONTEXT, FEATURES, History, context_features, describe
from steptool_env.discrete.results import ToolResult, finishes, pages_of
from steptool_env.discrete.tools import intents_of, read_tools
from steptool_env.discrete.values import Value, answer_rows, query_values
from steptool_env.discrete.words import Lexicon, query_words
from steptool_env.formats import make_format

CANDIDATES = 64
"""Slots for candidates in an observation. Those beyond are left out: finishes of the oldest answers first."""

NO_ACTION = ""
"""The text of an action whose slot is empty: it is no call, and is scored as such."""


class CandidateView:
    """Lists and describes what can be done in one episode.

    It is told what a text agent is told and nothing else: the `info` of `reset` (functions, messages, format) and the
    texts and status codes that follow. It never sees the task, so nothing of the gold solution can enter a feature.

    Args:
        info: The `info` of `reset`.
        lexicon: Which names of fields mean the same; see `steptool_env.envs.toolworld_discrete`.
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
        """The candidate at `action` as the text environment wants it; `NO_ACTION` for an empty slot."""
        if not 0 <= action < len(self.candidates):
            return NO_ACTION
        candidate = self.candidates[action]
        return self._format.render(candidate.name, json.dumps(candidate.arguments, ensure_ascii=False))

    def advance(self, action: int, observation: str, info: Mapping[str, Any]) -> None:
        """Take note of what the environment said to the candidate at `action`."""
        candidate = self.candidates[action] if 0 <= action < len(self.candidates) else None
        rows, beside = answer_rows(observation)
        self._history.note(candidate, info["status"], info["calls_left"], bool(rows))
        if candidate is not None and candidate.tool is not None and rows:
            self._answer(candidate, rows, pages_of(beside))
        self._list()

    def observation(self) -> dict[str, NDArray[Any]]:
        """The features of the candidates, of the episode, and which slots hold a candidate.

        Shapes: `candidates` (CANDIDATES * FEATURES,), `context` (CONTEXT,), `mask` (CANDIDATES,).
        """
        described = np.zeros((CANDIDATES, FEATURES), dtype=np.float32)
        rows = describe(self.candidates, self._answers, self._history)
        described[: len(rows)] = rows
        context = np.asarray(context_features(self._history, self._answers), dtype=np.float32)
        assert context.shape == (CONTEXT,)
        return {"candidates": described.ravel(), "context": context, "mask": self.mask().astype(np.int8)}

    def mask(self) -> NDArray[np.bool_]:
        """Which actions there are. Shape: (CANDIDATES,)."""
        return np.arange(CANDIDATES) < len(self.candidates)

    def _answer(self, candidate: Candidate, rows: list[dict[str, Any]], pages: int) -> None:
        """Keep an answer; a later page goes to the rows of the earlier ones."""
        step = self._history.step - 1
        if candidate.page > 1:
            for index, earlier in enumerate(self._answers):
                if earlier.call.name == candidate.name and earlier.next_page() == candidate:
                    merged = (*earlier.rows, *rows)
                    self._answers[index] = replace(earlier, rows=merged, page=candidate.page, step=step)
                    return
        self._answers.append(ToolResult(candidate, step, tuple(rows), pages))

    def _list(self) -> None:
        """Calls first, the best binding of every function before the second ones; then the ways to finish."""
        values = self._values()
        pages = [page for answer in self._answers if (page := answer.next_page()) is not None]
        ranks = zip_longest(*(calls_of(tool, values) for tool in self._tools))
        calls = [call for rank in ranks for call in rank if call is not None]
        found: dict[tuple[str, str], Candidate] = {}
        for candidate in (*pages, *calls[: CANDIDATES // 2], *finishes(self._answers, self._lexicon)):
            found.setdefault((candidate.name, repr(candidate.arguments)), candidate)
        self.candidates = list(found.values())[:CANDIDATES]

    def _values(self) -> list[Value]:
        """Everything shown so far that can be an argument, without repeats."""
        values = {(value.value, value.form, value.about): value for value in self._constants}
        for answer in self._answers:
            for value in answer.values(self._lexicon):
                values[value.value, value.form, value.about] = value
        return list(values.values())
