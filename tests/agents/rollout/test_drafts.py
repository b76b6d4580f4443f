"""Drafts: what followed the same tokens before."""

import pytest

from agents.rollout import drafts
from agents.rollout.drafts import DraftTable


def test_a_draft_repeats_what_followed_the_last_tokens_in_any_episode() -> None:
    table, first, second = DraftTable(), [], []
    table.learn(first, [1, 2, 3, 4, 5])
    table.learn(second, [7, 2, 3])
    assert second == [7, 2, 3]
    assert table.draft(second, 4) == [4, 5]
    assert table.draft(second, 1) == [4]
    table.learn(second, [9])
    assert table.draft([7, 2, 3], 1) == [9]  # three tokens tell more than two
    assert table.draft([1, 2, 3], 1) == [4]
    assert table.draft([8, 8, 8], 4) == []


def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "_ENTRIES", 10)
    table = DraftTable()
    for start in range(0, 1000, 5):
        table.learn([], range(start, start + 5))
        assert len(table._next) <= 10
