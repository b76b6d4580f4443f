"""Check of a name or word in an answer: it must be stated, and no other name of the column be chosen."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from steptool_env.toolworld.answers.mentionable import MentionableFacts
from steptool_env.toolworld.answers.mentions import AnswerText, Mention, Names, words_of
from steptool_env.toolworld.answers.parsing import fold
from steptool_env.toolworld.answers.selection import Named, Selection
from steptool_env.toolworld.answers.slots import AnswerSlot, Verdict
from steptool_env.toolworld.task import WorldTask
from toolserver.world.schema import OperationKind


class NameCheck:
    """Check of one slot whose value is a name or a word."""

    def __init__(self, task: WorldTask, slot: AnswerSlot, known: MentionableFacts) -> None:
        self._attribute = slot.attribute
        self._wanted = frozenset([fold(str(value)) for value in slot.values])
        self._known = known
        self._values = Names((value, slot.attribute) for value in slot.type.values) if slot.type.values else None
        self._aside = self._of_other_labels(task) - self._wanted
        entity = task.columns.world.entities.get(slot.attribute.partition(".")[0])
        self._labels = frozenset(fold(f"{entity.label} {entity.plural}").split()) if entity else frozenset[str]()
        self._candidates = frozenset(_candidates(task, slot))

    def __call__(self, parsed: AnswerText) -> Verdict:
        """Return the verdict on the slot."""
        mentions = [
            Named(each.first, each.last, names) for each in self._found(parsed) if (names := each.of(self._attribute))
        ]
        if not mentions:
            return Verdict.MISSING
        selection = Selection(parsed.words, self._labels)
        compared = len(self._candidates) > 1
        mentions = [each for each in mentions if not selection.is_denied(each, judged=compared)]
        if any(not each.names & self._wanted and not each.names & self._known.names for each in mentions):
            return Verdict.CONTRADICTED
        if compared:
            return self._compared(mentions, selection)
        return self._listed(mentions, selection)

    def _found(self, parsed: AnswerText) -> list[Mention]:
        if self._values is None:
            return parsed.mentions
        covered = {place for each in parsed.mentions for place in range(each.first, each.last)}
        found = self._values.find(parsed.words)
        exact = {(each.first, each.last) for each in parsed.mentions}
        return [
            each
            for each in found
            if not self._aside.issuperset(each.names)
            and ((each.first, each.last) in exact or not covered.issuperset(range(each.first, each.last)))
        ]

    def _of_other_labels(self, task: WorldTask) -> frozenset[str]:
        """Return the values of an enumeration that occur in another slot's label: "rain" beside the sky."""
        if self._values is None:
            return frozenset()
        labels = [task.plan.results[asked.node].operation.outputs[asked.output].label for asked in task.plan.asked]
        return frozenset().union(*(each.names for label in labels for each in self._values.find(words_of(label))))

    def _listed(self, mentions: Sequence[Named], selection: Selection) -> Verdict:
        """Return RIGHT if all values are stated and none is an alternative to a known name."""
        for one, other in pairwise(mentions):
            if bool(one.names & self._wanted) != bool(other.names & self._wanted) and selection.are_alternatives(
                one, other, len(self._candidates) > 1
            ):
                return Verdict.CONTRADICTED
        stated = frozenset[str]().union(*(each.names for each in mentions))
        return Verdict.RIGHT if self._wanted <= stated else Verdict.MISSING

    def _compared(self, mentions: Sequence[Named], selection: Selection) -> Verdict:
        """Return RIGHT if the answer chooses the value of the slot."""
        mentions = selection.without_scope(mentions)
        if self._listed(mentions, selection) is Verdict.CONTRADICTED:
            return Verdict.CONTRADICTED
        chosen = selection.chosen(mentions)
        if not chosen:
            named = any(each.names & self._wanted for each in mentions)
            return Verdict.CONTRADICTED if named else Verdict.MISSING
        return Verdict.RIGHT if chosen <= self._wanted else Verdict.CONTRADICTED


def _candidates(task: WorldTask, slot: AnswerSlot) -> Iterator[str]:
    """Yield the folded names of the compared rows if the slot is the name of one."""
    world, (owner, _, column) = task.columns.world, slot.attribute.partition(".")
    nodes = [slot.node]
    if task.plan.results[slot.node].operation.kind in (OperationKind.DETAILS, OperationKind.LOOKUP):
        nodes += task.plan.nodes[slot.node].parents()  # the name of the row that a comparison led to
    for result in map(task.plan.results.__getitem__, nodes):
        operation = result.operation
        if operation.kind is not OperationKind.COMPARE or operation.subject != owner:
            continue
        if column == world.entities[owner].attributes[0].name:
            for side in ("first_id", "second_id"):
                yield fold(str(world.need(owner, result.arguments[side], result.changes)[column]))
