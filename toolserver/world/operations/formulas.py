"""Short ways to write the hand-made operations of a domain that compute values from values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from toolserver.world.changes import Changes
from toolserver.world.schema import Answer, Operation, OperationKind, Output, Row, SemanticType, Slot, WorldView


class Ask(NamedTuple):
    """What a formula sees: the values it was given, and the world to look things up in."""

    values: Mapping[str, Any]
    world: WorldView
    delta: Changes

    def row(self, entity: str, name: str) -> dict[str, Any]:
        """The row whose id is the input `name`. Refuses with NOT_FOUND when there is none."""
        return self.world.need(entity, self.values[name], self.delta)


Formula = Callable[[Ask], dict[str, Any]]


def compute(
    name: str,
    inputs: Mapping[str, Slot],
    outputs: Mapping[str, tuple[SemanticType, str]],
    formula: Formula,
    phrase: str,
    *verbs: str,
    domain: str,
) -> Operation:
    """An operation whose outputs are derived from its inputs.

    Args:
        name: Its name, `subject.verb`.
        inputs: Its inputs.
        outputs: Semantic type and label by output name.
        formula: Gives the values by output name; may raise `Refusal`.
        phrase: What it does, as an imperative.
        *verbs: Names that vendors give it.
        domain: Name of its domain.
    """

    def run(world: WorldView, values: Mapping[str, Any], delta: Changes) -> Answer:
        return [Row("", formula(Ask(values, world, delta)))], delta

    shown = {key: Output(kind, f"{name}.{key}", label, derived=True) for key, (kind, label) in outputs.items()}
    subject = name.partition(".")[0]
    return Operation(name, domain, OperationKind.COMPUTE, subject, inputs, shown, run, phrase=phrase, verbs=verbs)
