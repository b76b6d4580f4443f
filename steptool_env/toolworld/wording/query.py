"""Query of a task, written from its plan.

The query of a short plan is one sentence. In that of a longer plan, each sentence before the question introduces one
intermediate result. The
words are in `frames`, `templates` and `operation_patterns`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from steptool_env.toolworld.planning.plan import Plan
from steptool_env.toolworld.wording import frames
from steptool_env.toolworld.wording.frames import Frame
from steptool_env.toolworld.wording.noun_phrases import ATOMS, NounPhrases
from steptool_env.toolworld.wording.operation_patterns import Patterns, Phrases
from steptool_env.toolworld.wording.terms import CONST, MORE, OUT, Term, inputs_of, is_low
from toolserver.world.schema import OperationKind
from toolserver.world.seeded_random import SeededRandom
from toolserver.world.world import World

MAX_WORDS, MAX_OFS = 30, 3
"""Maximum number of words, and of the word `of`, in one sentence; a name counts as one word."""

_phrases_of = lru_cache(maxsize=8)(Phrases)
_MERGED = 22  # maximum number of words of two sentences that are joined


def query_of(world: World, plan: Plan, rng: SeededRandom) -> str:
    """Write the query of a plan; `rng` draws the words, the level of the world selects the frames."""
    return _Query(_phrases_of(world), world, plan, rng).text()


class _Query:
    """Writes the query of one plan."""

    def __init__(self, phrases: Phrases, world: World, plan: Plan, rng: SeededRandom) -> None:
        self.phrases = phrases
        self.world = world
        self.rng = rng
        self.plan = plan
        self.last = len(plan.nodes) - 1
        self.operation = plan.results[self.last].operation
        inputs = inputs_of(plan, self.last)
        shows = self.operation.kind in (OperationKind.DETAILS, OperationKind.LOOKUP)
        self.inputs = (("of", inputs[0][1]),) if shows else inputs
        self.parents = _parents(self.inputs)

    def text(self) -> str:
        """Return the query."""
        introduced = self._introduced()
        while True:
            sentences = _Sentences(self, introduced)
            text = sentences.all()
            more = None if all(map(sentences.is_short, text)) else self._next(introduced)
            if more is None:
                return " ".join(text)
            introduced = [each for each in self.parents if each in introduced or each == more]

    def _introduced(self) -> list[Term]:
        """Return the terms with a sentence of their own: used twice, of two rows, or inside of nested ones."""
        introduced: set[Term] = set()
        heights: dict[Term, int] = {}
        for term, parents in self.parents.items():
            introduced.update(arg for _, arg in term.args if heights[arg])
            heights[term] = int(term.head not in ATOMS)
            if term.head == MORE or (parents > 1 and term.head != CONST):
                introduced.add(term)
                heights[term] = 0
        return [each for each in self.parents if each in introduced]

    def _next(self, introduced: list[Term]) -> Term | None:
        """Return the next term to be introduced if a sentence is too long; `None` without one."""
        left = [term for term in self.parents if term not in introduced and term.head != CONST]
        left.sort(key=lambda term: term.head in ATOMS)  # stable: names last
        return left[0] if left else None

    def asked(self) -> tuple[Patterns, dict[str, tuple[Frame, ...]]]:
        """Return the patterns and frames of the last sentence."""
        operation, phrases, level = self.operation, self.phrases, self.world.level.name
        given = frozenset(name for name, _ in self.inputs)
        if operation.kind.writes:
            return Patterns(phrases.ordered(operation.name, given)), {"nouns": frames.ORDERS[level]}
        names = tuple(each.output for each in self.plan.asked)
        by_form = {"nouns": frames.NOUNS[level], "clauses": frames.CLAUSES[level]}
        if operation.kind is OperationKind.RANK:
            if operation.attribute not in names or len(names) > 1:
                by_form["nouns"] = frames.THINGS[level]
            return phrases.ranked(operation.name, is_low(self.plan, self.last), names), by_form
        if operation.kind is OperationKind.COMPARE:
            return phrases.compared(operation.name, names), by_form
        if self.plan.asked[0].every:
            return phrases.listed(operation.name), by_form
        if "of" in given:
            return phrases.shown(tuple(f"{operation.subject}.{name}" for name in names)), by_form
        return phrases.derived(operation.name, names, given), by_form


def _parents(inputs: Iterable[tuple[str, Term]]) -> dict[Term, int]:
    """Return the terms inside the inputs, inner ones first, with the number of phrases that contain each."""
    parents: dict[Term, set[Term | None]] = {}

    def visit(term: Term, parent: Term | None) -> None:
        for _, arg in term.args:
            visit(arg, term)
        parents.setdefault(term, set()).add(parent)

    for _, term in inputs:
        visit(term, None)
    return {term: len(each) for term, each in parents.items()}


class _Sentences:
    """Writes the sentences of a query for a choice of introduced terms."""

    def __init__(self, query: _Query, introduced: list[Term]) -> None:
        self.query = query
        self.rng = query.rng
        self.introduced = introduced
        self.nouns = NounPhrases(query.phrases, query.world, query.rng, introduced, self._last_uses())

    def all(self) -> list[str]:
        """Return the sentences, from the opening to the close."""
        steps = [self._introduction(term) for term in self.introduced]
        ask, frame = self._ask(*self.query.asked())
        return [each for each in (frame.open, *self._joined(steps), ask, frame.close) if each]

    def is_short(self, sentence: str) -> bool:
        """Return True if a sentence is within the bounds; a name counts as one word."""
        for name in self.nouns.names:
            sentence = sentence.replace(name, "X")
        words = sentence.split()
        return len(words) <= MAX_WORDS and words.count("of") <= MAX_OFS

    def _last_uses(self) -> list[int]:
        last = dict.fromkeys(self.introduced, 0)

        def visit(term: Term, index: int) -> None:
            for _, arg in term.args:
                if arg in last:
                    last[arg] = max(last[arg], index)
                else:
                    visit(arg, index)

        for index, term in enumerate(self.introduced):
            visit(term, index)
        visit(Term(OUT, "", self.query.inputs), len(self.introduced))
        return [last[term] for term in self.introduced]

    def _introduction(self, term: Term) -> str:
        """Return an imperative without full stop that introduces a term."""
        patterns = self.nouns.patterns_of(term)
        is_value, is_first = not self.nouns.entity(term), not self.nouns.mentioned
        verbs = frames.INTRODUCTIONS["value" if is_value else "thing"][: None if is_first or is_value else -1]
        if patterns is None:
            sentence = self.rng.pick(verbs[-2:] if is_first else verbs[2:]).format(it=self.nouns.name(term))
        else:
            args = dict(term.args)
            nouns = self.nouns.usable(patterns.nouns, args)
            if nouns and (not patterns.introductions or self.rng.chance(0.5)):
                verb = self.rng.pick(verbs if is_value else verbs[:2])
                pattern = verb.format(it=self.rng.pick(nouns))
            else:
                pattern = self.rng.pick(self.nouns.usable(patterns.introductions, args))
            sentence = self.nouns.fill(pattern, args, self.nouns.operation(term))
        self.nouns.mentioned += 1
        return sentence

    def _joined(self, steps: list[str]) -> list[str]:
        """Return the introductions as sentences; some pairs are joined."""
        sentences: list[str] = []
        index = 0
        while index < len(steps):
            step = steps[index]
            if index + 1 < len(steps) and self._joins(step, steps[index + 1], index):
                step = f"{step} and {steps[index + 1]}"
                index += 1
            index += 1
            sentences.append(f"{_capital(step)}.")
        return sentences

    def _joins(self, step: str, following: str, index: int) -> bool:
        """Return True if two steps can be joined by `and`: the second uses the first, and has no other `and`."""
        refers = any(arg == self.introduced[index] for _, arg in self.introduced[index + 1].args)
        same_verb = step.split()[0] == following.split()[0]
        if not refers or same_verb or step.startswith("compare ") or following.startswith(("compare ", "of ")):
            return False
        return " and " not in following and len(step.split()) + len(following.split()) < _MERGED

    def _ask(self, patterns: Patterns, by_form: Mapping[str, tuple[Frame, ...]]) -> tuple[str, Frame]:
        args = dict(self.query.inputs)
        nouns, clauses = self.nouns.usable(patterns.nouns, args), self.nouns.usable(patterns.clauses, args)
        pattern = self.rng.pick([*nouns, *clauses])
        if pattern in nouns:
            frame = self.rng.pick([each for each in by_form["nouns"] if patterns.be or "{be}" not in each.ask])
        elif pattern.startswith("which ") and ", and " not in pattern and self.rng.chance(0.6):  # needs no frame
            frame = self.rng.pick(frames.QUESTIONS[self.query.world.level.name])
        else:
            frame = self.rng.pick(by_form["clauses"])
        filled = self.nouns.fill(pattern, args, self.query.operation)
        return _capital(frame.ask.replace("{be}", _be(patterns, pattern)).replace("{it}", filled)), frame


def _be(patterns: Patterns, pattern: str) -> str:
    """Return the start of a question with a noun phrase: `What are`, but `What is` before the name of every hotel."""
    return patterns.be.replace(" are", " is") if " of every " in pattern or " of each " in pattern else patterns.be


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
