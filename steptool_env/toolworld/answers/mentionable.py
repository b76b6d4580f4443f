"""Names and values that an answer may mention in addition to its slots."""

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from steptool_env.toolworld.answers.mentions import names_of, without, words_of
from steptool_env.toolworld.answers.parsing import Readings, fold, read
from steptool_env.toolworld.answers.quantities import Quantity, Reading
from steptool_env.toolworld.answers.slots import BASE_UNITS
from steptool_env.toolworld.planning.plan import Plan
from steptool_env.toolworld.task import WorldTask
from toolserver.world.schema import Operation, OperationKind, SemanticType, ValueKind
from toolserver.world.vendors.style import ValueStyle
from toolserver.world.vendors.value_codecs import codec_of

_KEYED = re.compile(r"(?:[:|\[{\"']|[^\W\d][\"'\]]?\s*=)\s*$")
"""Text before the value of a key (`"fare": 5`), but not before the result of an equation."""
_LISTED = re.compile(r"(?:^|[,;\n]|[\n,;]\s*[-•])\s*$")
"""Text before an entry of a list."""
_LOOK = 64
"""Number of characters before a value that show whether it is in a sentence."""
_NAMING = (ValueKind.TEXT, ValueKind.ID)
_MEASURED = (ValueKind.INTEGER, ValueKind.NUMBER, ValueKind.DATE, ValueKind.TIME)


class MentionableFacts:
    """Names and values that an answer to a task may mention in addition to its slots. Computed on first use.

    These are the values of the query and those that pass between the calls of the gold solution. Other values of
    earlier responses may occur in sentences only: an answer may explain its steps, but not copy responses. Other
    values of the asked call's response may not occur: an answer could state all of them and choose none.
    """

    def __init__(self, task: WorldTask) -> None:
        self._task = task

    @cached_property
    def _texts(self) -> dict[str, None]:
        return dict.fromkeys(_texts(self._task.plan))

    @cached_property
    def names(self) -> frozenset[str]:
        """Folded names."""
        mentions = names_of(self._task.columns.world).find(words_of(self._task.query))
        return frozenset(map(fold, self._texts)).union(*(mention.names for mention in mentions))

    @cached_property
    def values(self) -> Readings:
        """Dates, times and numbers of the query and of values that pass between the calls."""
        plan = self._task.plan
        labels = [plan.results[asked.node].operation.outputs[asked.output].label for asked in plan.asked]
        return self._read([self._task.query, *_values(self._task), *self._texts, *labels])

    @cached_property
    def steps(self) -> Readings:
        """Dates, times and numbers of earlier responses, which only a sentence may mention."""
        return self._read(_steps(self._task))

    def _read(self, texts: Iterable[str]) -> Readings:
        text = " ; ".join(texts)
        words = words_of(text)
        return read(without(text, words, names_of(self._task.columns.world).find(words)))


def _texts(plan: Plan) -> Iterator[str]:
    """Yield the names and ids that pass between the calls: of arguments, of rows that are used, and the rows' own ids.

    The order is that of the nodes.
    """
    for node, result in enumerate(plan.results):
        outputs = result.operation.outputs
        for value in plan.arguments(node).values():
            if isinstance(value, str):
                yield value
        for row in plan.used_rows(node):
            yield row.entity
            for name, value in row.values.items():
                if outputs[name].type.kind in _NAMING:
                    yield str(value)


def _values(task: WorldTask) -> Iterator[str]:
    """Yield the other values that pass between the calls, in the world's units and in the vendors'.

    Asked values are left out: their slots check them and their units.
    """
    plan = task.plan
    asked = {(each.node, each.output) for each in plan.asked}
    for node, result in enumerate(plan.results):
        outputs, used = result.operation.outputs, plan.used_outputs(node)
        shown = task.toolset.bound[node].vendor.style.values if node < len(task.toolset.bound) else None
        for name, value in plan.arguments(node).items():
            if result.operation.inputs[name].type.kind not in _NAMING:
                yield from _as_shown(result.operation.inputs[name].type, value, shown)
        for row in plan.used_rows(node):
            for name, value in row.values.items():
                kind = outputs[name].type
                if name in used and (node, name) not in asked and kind.kind not in _NAMING:
                    yield from _as_shown(kind, value, shown)
        if result.operation.kind is OperationKind.COMPARE:  # the operands of a difference
            world, subject = task.columns.world, result.operation.subject
            for side in ("first_id", "second_id"):
                value = world.need(subject, result.arguments[side], result.changes)[result.operation.attribute]
                yield from _as_shown(world.entities[subject].attribute(result.operation.attribute).type, value, shown)


def _steps(task: WorldTask) -> Iterator[str]:
    """Yield the values of used rows that no later call takes: an explanation of the steps mentions them.

    For an asked call these are only the values that its answer is computed from. Values of an asked column are left
    out: those of other rows contradict the answer.
    """
    plan = task.plan
    asked = {(each.node, each.output) for each in plan.asked}
    columns = {plan.results[node].operation.outputs[output].attribute for node, output in asked}
    last = {node for node, _ in asked}
    for node, result in enumerate(plan.results):
        operation = result.operation
        shown = task.toolset.bound[node].vendor.style.values if node < len(task.toolset.bound) else None
        for name, value in result.values.items():
            output = operation.outputs[name]
            if (node, name) in asked or output.attribute in columns or output.type.kind not in _MEASURED:
                continue
            if node not in last or name == _basis(operation) or _is_calculation(operation):
                yield from _as_shown(output.type, value, shown)


def _basis(operation: Operation) -> str:
    """Return the output on which a result is based: a ranking's key, a difference, the number of rows of a mean."""
    bases = {
        OperationKind.AGGREGATE: "count",
        OperationKind.COMPARE: "difference",
        OperationKind.RANK: operation.attribute,
    }
    return bases.get(operation.kind, "")


def _is_calculation(operation: Operation) -> bool:
    """Return True for a calculation without ids: a tip and a total are steps to each one's share."""
    return operation.kind is OperationKind.COMPUTE and all(
        slot.type.kind is not ValueKind.ID for slot in operation.inputs.values()
    )


def _as_shown(kind: SemanticType, value: Any, shown: ValueStyle | None) -> Iterator[str]:
    """Yield a value in the world's unit and as a vendor writes it."""
    yield f"{value} {BASE_UNITS.get(kind.unit, '')}".rstrip()
    codec = codec_of(kind, shown) if shown is not None else None
    if codec is not None and codec.encode is not None:
        yield f"{codec.encode(value)} {codec.unit}"


def is_in_sentence(text: str, place: int) -> bool:
    """Return True unless the text at `place` is the value of a key or the entry of a list."""
    start = max(0, place - _LOOK)  # a search of all text before each date takes the square of the time
    return _KEYED.search(text, start, place) is None and _LISTED.search(text, start, place) is None


def is_explained(stated: Quantity) -> bool:
    """Return True for a number in a sentence, not as the value of a key or alone in a list."""
    if stated.word or any(reading.unit is not None for reading in stated.readings):
        return _KEYED.search(stated.gap) is None
    return is_in_sentence(stated.gap, len(stated.gap))


def is_same(stated: Reading, known: Reading, step: float) -> bool:
    """Return True if a stated number, rounded to `step`, equals a known one; a missing unit matches any."""
    if stated.unit is None or known.unit is None:
        values = [known.value]
        if known.unit is not None and known.unit.dimension == "ratio":
            values.append(round(known.value * known.unit.factor, 9))  # 0.09 for 9 %
        return any(abs(stated.value - value) <= step * 0.500001 for value in values)
    if (stated.unit.dimension, stated.unit.code) != (known.unit.dimension, known.unit.code):
        return False
    one = stated.value * stated.unit.factor + stated.unit.offset
    other = known.value * known.unit.factor + known.unit.offset
    return abs(one - other) <= 0.002 * abs(other)
