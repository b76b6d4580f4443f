"""Results of tools, and the final answers composed of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from steptool_env.discrete.candidates import Candidate
from steptool_env.discrete.tools import Tool
from steptool_env.discrete.values import ObservedValue, row_values
from steptool_env.discrete.words import Lexicon
from steptool_env.types import FINISH, GIVE_ANSWER, GIVE_UP

_FIELDS = 6
_DONE = "Done."


@dataclass(frozen=True)
class ToolResult:
    """A successful call and its rows.

    Attributes:
        call: Call.
        step: Index of the step, 0-based.
        rows: Records of all pages so far.
        pages: Number of pages.
        page: Last page that was returned.
    """

    call: Candidate
    step: int
    rows: tuple[Mapping[str, Any], ...]
    pages: int = 1
    page: int = 1

    @property
    def tool(self) -> Tool:
        """Called function."""
        assert self.call.tool is not None
        return self.call.tool

    def values(self, lexicon: Lexicon) -> list[ObservedValue]:
        """Return the values of the first row, as arguments of later calls."""
        return row_values(dict(self.rows[0]), self.tool.words, self.step, lexicon) if self.rows else []

    def next_page(self) -> Candidate | None:
        """Return the call for the next page, if there is one."""
        if self.page >= self.pages or not self.tool.page:
            return None
        arguments = {**self.call.arguments, self.tool.page: self.page + 1}
        return replace(self.call, arguments=arguments, page=self.page + 1)


def pages_of(beside: Mapping[str, Any]) -> int:
    """Return the number of pages, from the fields beside the rows (`total_pages`, `pages`); 1 by default."""
    counts = [value for name, value in beside.items() if "pages" in name.lower() and isinstance(value, int)]
    return max(counts, default=1)


def finish_candidates(answers: Sequence[ToolResult], lexicon: Lexicon) -> Iterator[Candidate]:
    """Yield the final answers: fields of a row, a field of every row, none, and giving up. Latest results first."""
    yield Candidate(FINISH, {"return_type": GIVE_UP})
    yield _finish(_DONE)
    for index in reversed(range(len(answers))):
        answer = answers[index]
        shown = [value for value in answer.values(lexicon) if not value.is_id][:_FIELDS]
        for value in shown:
            yield _finish(str(value.value), (value,), index)
            if len(answer.rows) > 1:
                column = (str(row[value.field]) for row in answer.rows if value.field in row)
                yield _finish("; ".join(column), (value,), index, column=True)
        for pair in combinations(shown, 2):
            yield _finish("; ".join(str(value.value) for value in pair), pair, index)


def _finish(text: str, shown: tuple[ObservedValue, ...] = (), source: int = -1, column: bool = False) -> Candidate:
    arguments = {"return_type": GIVE_ANSWER, "final_answer": text}
    return Candidate(FINISH, arguments, shown=shown, source=source, column=column)
