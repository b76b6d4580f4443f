"""Trees of episodes: advantages against the enumeration of a small problem."""

from collections import defaultdict
from itertools import product
from typing import NamedTuple

import pytest
import torch

from agents.training.advantages import Lineage, rloo, tree

CALLS = 3
PROBABILITY = (0.3, 0.7)
"""Probabilities of the two actions of the policy, in every state."""
State = tuple[int, ...]
"""The actions so far."""


def pays(state: State, action: int) -> float:
    """Reward of a call: it depends on everything before it, so that credit has to reach back."""
    first, *between = (*state, action)
    return (0.2 * first, float(first ^ action), 3.0 * first * action - sum(between))[len(state)]


def over(state: State) -> bool:
    """True at the end: after two calls where both were 0, else after three."""
    return len(state) == CALLS or state == (0, 0)


def value(state: State) -> float:
    return 0.0 if over(state) else sum(p * quality(state, a) for a, p in enumerate(PROBABILITY))


def quality(state: State, action: int) -> float:
    return pays(state, action) + value((*state, action))


class Row(NamedTuple):
    lineage: Lineage
    begin: State
    actions: State

    @property
    def rewards(self) -> list[float]:
        path = self.begin + self.actions
        return [pays(path[:k], path[k]) for k in range(len(self.begin), len(path))]

    @property
    def calls(self) -> list[tuple[State, int]]:
        path = self.begin + self.actions
        return [(path[:k], path[k]) for k in range(len(self.begin), len(path))]


def rows_from(lineage: Lineage, begin: State) -> list[tuple[float, Row]]:
    """Every way to play on from a state, with its probability."""
    if over(begin):
        return [(1.0, Row(lineage, begin, ()))]
    return [
        (p * chance, Row(lineage, begin, (action, *rest.actions)))
        for action, p in enumerate(PROBABILITY)
        for chance, rest in rows_from(lineage, (*begin, action))
    ]


def trees(forks: tuple[int, ...], branches: int, deep: bool) -> list[tuple[float, list[Row]]]:
    """Every tree of two episodes of which the first is left before the calls `forks`, with its probability.

    `deep`: the first branch is left before its second call too.
    """
    found = [(p * q, [one, other]) for (p, one), (q, other) in product(rows_from((0,), ()), rows_from((1,), ()))]
    for call in forks:
        for number in range(branches):
            grown = []
            for p, rows in found:
                path = rows[0].actions
                more = rows_from((0, call, number), path[:call]) if call < len(path) else [(1.0, None)]
                grown += [(p * q, rows if row is None else [*rows, row]) for q, row in more]
            found = grown
    if not deep:
        return found
    grown = []
    for p, rows in found:
        branch = next((row for row in rows if row.lineage == (0, 1, 0) and len(row.actions) == 2), None)
        more = rows_from((0, 1, 0, 2, 0), branch.begin + branch.actions[:1]) if branch else [(1.0, None)]
        grown += [(p * q, rows if row is None else [*rows, row]) for q, row in more]
    return grown


def advantages_of(rows: list[list[Row]]) -> list[list[list[float]]]:
    """Advantages per tree, row and call."""
    flat = [(g, row) for g, group in enumerate(rows) for row in group]
    steps = torch.tensor([len(row.actions) for _, row in flat])
    reward = torch.zeros(len(flat), CALLS, dtype=torch.float64)
    for index, (_, row) in enumerate(flat):
        reward[index, : len(row.actions)] = torch.tensor(row.rewards, dtype=torch.float64)
    group = torch.tensor([g for g, _ in flat])
    got = iter(tree(reward, steps, group, [row.lineage for _, row in flat]).tolist())
    return [[next(got)[: len(row.actions)] for row in group] for group in rows]


@pytest.mark.parametrize(("forks", "deep"), [((1, 2), False), ((1,), True), ((2,), False), ((), False)])
def test_the_expected_gradient_is_that_of_enumeration(forks: tuple[int, ...], deep: bool) -> None:
    """Over all trees, the calls of each state push its logits by their number times the true gradient.

    The gradient of log-probability by the logit of action 1 is `a - p(1)`.
    """
    found = trees(forks, 1, deep)
    assert sum(p for p, _ in found) == pytest.approx(1.0)
    push: dict[State, float] = defaultdict(float)
    visits: dict[State, float] = defaultdict(float)
    for (p, rows), credit in zip(found, advantages_of([rows for _, rows in found]), strict=True):
        for row, values in zip(rows, credit, strict=True):
            for (state, action), advantage in zip(row.calls, values, strict=True):
                push[state] += p * advantage * (action - PROBABILITY[1])
                visits[state] += p
    assert len(push) == 6  # 1 + 2 + 3 states before a call
    for state, got in push.items():
        true = sum(
            p * (quality(state, action) - value(state)) * (action - PROBABILITY[1])
            for action, p in enumerate(PROBABILITY)
        )
        assert got == pytest.approx(visits[state] * true, abs=1e-12), state


def test_where_calls_have_siblings_their_expectation_is_the_true_advantage() -> None:
    """Rows of an episode that is left before each call, and of its branches."""
    totals: dict[tuple[State, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
    found = trees((1, 2), 1, deep=False)
    for (p, rows), credit in zip(found, advantages_of([rows for _, rows in found]), strict=True):
        for row, values in zip(rows, credit, strict=True):
            compared = len(row.actions) if row.lineage == (0,) else 1
            for call, advantage in list(zip(row.calls, values, strict=True))[:compared]:
                totals[call][0] += p * advantage
                totals[call][1] += p
    for (state, action), (total, weight) in totals.items():
        assert total / weight == pytest.approx(quality(state, action) - value(state), abs=1e-12), (state, action)


def test_without_branches_it_is_the_return_less_that_of_the_others() -> None:
    reward = torch.tensor([[1.0, 0.5], [0.0, 0.0], [0.25, 0.0]], dtype=torch.float64)
    steps, group = torch.tensor([2, 1, 2]), torch.zeros(3, dtype=torch.long)
    torch.testing.assert_close(tree(reward, steps, group, [(0,), (1,), (2,)]), rloo(reward, steps, group))
    assert (tree(reward, steps, torch.arange(3), [(0,)] * 3) == 0).all()  # no siblings


def test_branches_of_a_lost_episode_are_compared_with_each_other() -> None:
    reward = torch.tensor([[1.0], [0.0]])
    got = tree(reward, torch.tensor([1, 1]), torch.tensor([0, 0]), [(0, 1, 0), (0, 1, 1)])
    assert got.tolist() == [[1.0], [-1.0]]
