"""Constructor for operations of a domain that compute values from values."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from toolserver.world.changes import Changes
from toolserver.world.schema import Answer, Operation, OperationKind, Output, Row, SemanticType, Slot, WorldView


class FormulaInputs(NamedTuple):
    """Argument of a formula: input values, world and changes."""

    values: Mapping[str, Any]
    world: WorldView
    changes: Changes

    def row(self, entity: str, name: str) -> dict[str, Any]:
        """Return the row whose id is the input `name`. Raises `Refusal` with NOT_FOUND if it does not exist."""
        return self.world.need(entity, self.values[name], self.changes)


Formula = Callable[[FormulaInputs], dict[str, Any]]


def compute(
    name: str,
    inputs: Mapping[str, Slot],
    outputs: Mapping[str, tuple[SemanticType, str]],
    formula: Formula,
    phrase: str,
    *verbs: str,
) -> Operation:
    """Return an operation whose outputs are computed from its inputs.

    Args:
        name: Name, `subject.verb`.
        inputs: Inputs by name.
        outputs: Semantic type and label by output name.
        formula: Function that returns the values by output name; it may raise `Refusal`.
        phrase: Description as a clause.
        *verbs: Names that vendors use.
    """

    def run(world: WorldView, values: Mapping[str, Any], changes: Changes) -> Answer:
        return [Row("", formula(FormulaInputs(values, world, changes)))], changes

    shown = {key: Output(kind, f"{name}.{key}", label, derived=True) for key, (kind, label) in outputs.items()}
    subject = name.partition(".")[0]
    return Operation(name, OperationKind.COMPUTE, subject, inputs, shown, run, phrase=phrase, verbs=verbs)
