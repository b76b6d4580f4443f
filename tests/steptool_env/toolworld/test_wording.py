"""Queries can be parsed, are short, state every constant once, and do not reveal the answer."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path

import pytest

from steptool_env.toolworld import Obstacle, WorldTask, gold_answer
from steptool_env.toolworld.answers.parsing import fold
from steptool_env.toolworld.planning.plan import Given
from steptool_env.toolworld.task_page import page
from steptool_env.toolworld.wording import frames, query_of
from steptool_env.toolworld.wording.operation_patterns import Phrases
from steptool_env.toolworld.wording.query import MAX_OFS, MAX_WORDS
from steptool_env.toolworld.wording.templates import PEOPLE, SCOPES, UNITS
from tests.steptool_env.toolworld.meaning import meaning_of
from tests.steptool_env.toolworld.query_parser import Parser
from tests.toolserver.world.worlds import LEVELS, sampler
from toolserver.world import make_world
from toolserver.world.schema import ValueKind
from toolserver.world.seeded_random import SeededRandom

_PERSON = "|".join(sorted(PEOPLE))
_EXTREME = "highest|lowest|most|least|fewest|largest|smallest|longest|shortest"
_CLUMSY = (
    re.compile(rf"What (?:is|are) the (?:{_PERSON})s?\b(?!')"),  # persons are "who"
    re.compile(rf"the (?:{_PERSON}) [^,.?]*,(?: and| along with| with) its\b"),  # and "their"
    re.compile(r"\bof (?:match |flight |train )?(?:code|tracking number) X"),  # codes are "with"
    # The scope comes first; after "to the" another row begins: `the city with the largest area to the city in X`
    re.compile(rf"with the (?:{_EXTREME}) (?:(?! to the )[a-z ])+ (?:in|from|by|at) (?:the [a-z ]+ )?X"),
)
_SENTENCES = re.compile(r"(?<=[.?!]) ")
_DEEP = [("train", "lite"), ("train", "standard"), ("train", "full"), ("depth-5", "standard"), ("depth-6", "full")]
deep = pytest.mark.parametrize(("split", "level"), _DEEP)


@cache
def tasks(split: str, level: str, count: int) -> list[WorldTask]:
    return [sampler(split, level).task(index) for index in range(count)]


def few(split: str, level: str) -> list[WorldTask]:
    return tasks(split, level, 300) if split == "train" else tasks(split, level, 60)


@cache
def parser(level: str) -> Parser:
    return Parser(make_world(0, level))


def stated(task: WorldTask) -> Iterator[tuple[str, list[str]]]:
    """Iterate over the constants that a query must state, with the ways to write each."""
    for node, result in zip(task.plan.nodes, task.plan.results, strict=True):
        for name, source in node.inputs.items():
            slot = result.operation.inputs[name]
            if not isinstance(source, Given) or name in ("order", "limit"):
                continue
            value = str(source.value)
            if slot.type.kind is ValueKind.DATE:
                day = date.fromisoformat(value)
                yield value, [value, f"{day.day} {day:%B} {day.year}"]
            else:
                unit = UNITS.get(slot.type.unit, f" {slot.type.unit}") if slot.type.unit else ""
                yield value, [f"{value}{unit}"]


def invented(task: WorldTask) -> str:
    """Return the name in an unsolvable task that no table has; else an empty string."""
    if task.obstacle is not Obstacle.UNKNOWN:
        return ""
    (source,) = task.plan.nodes[task.blocked].inputs.values()
    assert isinstance(source, Given)
    return str(source.value)


def without_names(task: WorldTask) -> str:
    """Return the query with one word in place of every text that the plan states."""
    query = task.query
    texts = {writing for value, writings in stated(task) if not value.isdigit() for writing in writings}
    for text in sorted(texts, key=lambda text: (-len(text), text)):
        query = query.replace(text, "X")
    return query


@pytest.mark.parametrize("level", LEVELS)
def test_a_query_can_be_read_back_in_one_way(level: str) -> None:
    for task in tasks("train", level, 300):
        assert parser(level).read(task.query, invented(task)) == {meaning_of(task.plan)}, task.id


@pytest.mark.parametrize(("split", "level"), [("depth-5", "standard"), ("depth-6", "full"), ("unsolvable", "lite")])
def test_long_and_unsolvable_ones_can_be_read_back_too(split: str, level: str) -> None:
    for task in few(split, level):
        assert parser(level).read(task.query, invented(task)) == {meaning_of(task.plan)}, task.id


def test_another_plan_is_read_from_other_words() -> None:
    """A changed name, measure or direction changes the parsed meaning."""
    query = "Which hotel in Talby has the highest price per night?"
    meanings = [
        parser("standard").read(each)
        for each in (query, query.replace("Talby", "Branton"), query.replace("highest", "lowest"),
                     query.replace("price per night", "guest rating"), "What is the city of Hotel Ember?")
    ]  # fmt: skip
    assert [len(each) for each in meanings] == [1, 1, 1, 1, 0]
    assert len(set.union(*meanings)) == 4


@deep
def test_sentences_are_short_and_flat(split: str, level: str) -> None:
    for task in few(split, level):
        for sentence in _SENTENCES.split(without_names(task)):
            words = sentence.split()
            assert len(words) <= MAX_WORDS, (task.id, sentence)
            assert words.count("of") <= MAX_OFS, (task.id, sentence)
            assert "whichever" not in words, (task.id, sentence)
            assert len(re.findall(r"\bwhich\b", sentence, re.IGNORECASE)) <= 1, (task.id, sentence)


@deep
def test_persons_codes_and_scopes_are_said_as_people_say_them(split: str, level: str) -> None:
    for task in few(split, level):
        assert not any(pattern.search(without_names(task)) for pattern in _CLUMSY), (task.id, task.query)


def test_clumsy_words_would_be_noticed() -> None:
    clumsy = (
        "What is the player with the highest points?",
        "Find the author from X with the most prizes, along with its number of prizes.",
        "Give me the weight of the parcel of tracking number X.",
        "Which hotel with the highest rating in the city X is it?",
    )
    found = [[pattern.search(query) is not None for pattern in _CLUMSY] for query in clumsy]
    assert found == [[row == column for column in range(4)] for row in range(4)]


@deep
def test_every_constant_is_said_once(split: str, level: str) -> None:
    for task in few(split, level):
        wanted = Counter(value for value, _ in stated(task))
        for value, writings in stated(task):
            said = sum(len(re.findall(rf"(?<![\w-]){re.escape(each)}(?![\w-])", task.query)) for each in writings)
            inside = sum(value in other for other in wanted if other != value)
            assert wanted[value] <= said <= wanted[value] + inside or value.isdigit(), (task.id, value, task.query)
            assert said, (task.id, value, task.query)


@deep
def test_no_query_says_what_is_to_be_found_out(split: str, level: str) -> None:
    for task in few(split, level):
        given = {value for value, _ in stated(task)}
        found = {
            str(value)
            for result in task.plan.results
            for row in result.rows[:1]
            for name, value in row.values.items()
            if result.operation.outputs[name].type.kind is ValueKind.ID
        } - given
        assert not found & set(re.findall(r"\w+", task.query)), task.id
        if task.solvable and not task.plan.writes:
            assert fold(gold_answer(task)) not in fold(task.query.replace("per 100 g", "")), task.id


@deep
def test_a_name_in_two_tables_comes_with_its_type(split: str, level: str) -> None:
    phrases = Phrases(make_world(0, level))
    for task in few(split, level):
        for node, result in zip(task.plan.nodes, task.plan.results, strict=True):
            operation = result.operation
            (source, *_) = node.inputs.values() or [None]
            if operation.kind != "search" or not isinstance(source, Given):
                continue
            if task.columns.world.tables_named(source.value) != (operation.subject,):
                sentence = next(each for each in _SENTENCES.split(task.query) if source.value in each)
                nouns = (phrases.noun(operation.subject), phrases.plural(operation.subject))
                assert any(noun in sentence for noun in nouns), (task.id, source.value, task.query)


def test_the_same_seed_gives_the_same_words_and_others_give_others() -> None:
    task = tasks("train", "standard", 300)[2]
    world = task.columns.world
    assert len({query_of(world, task.plan, SeededRandom("words", 1)) for _ in range(3)}) == 1
    assert len({query_of(world, task.plan, SeededRandom("words", seed)) for seed in range(60)}) >= 20


@pytest.mark.parametrize("level", LEVELS)
def test_every_shape_has_four_phrasings(level: str) -> None:
    """A shape is the kind of the last operation and the number of its asked outputs."""
    shapes: dict[tuple[str, int], list[WorldTask]] = defaultdict(list)
    for task in tasks("train", level, 300):
        shapes[task.plan.results[-1].operation.kind, len(task.plan.asked)].append(task)
    assert len(shapes) > 8
    for shape, of_shape in shapes.items():
        task = of_shape[0]
        forms = Counter(query_of(task.columns.world, task.plan, SeededRandom("form", seed)) for seed in range(80))
        assert len(forms) >= 4, (shape, forms)
        assert max(forms.values()) <= 40, (shape, forms.most_common(2))


@pytest.mark.parametrize("level", LEVELS)
def test_every_frame_comes_up(level: str) -> None:
    """No first word is far more frequent than the others."""
    opened = Counter(task.query.split()[0] for task in tasks("train", level, 300))
    assert len(opened) >= 8
    assert max(opened.values()) <= 300 * 0.4
    for tone in (frames.NOUNS, frames.ORDERS, frames.CLAUSES):
        assert len(set(tone[level])) >= 3


def test_the_page_of_queries_is_up_to_date() -> None:
    """After an intended change of tasks or words, run `steptool tasks page`."""
    path = Path(__file__).parents[3] / "docs" / "toolworld-tasks.md"
    assert path.read_text(encoding="utf-8") == page()


def test_every_reference_has_words_and_no_words_are_left_over() -> None:
    world = make_world(0, "full")
    references = {f"{entity.name}.{each.name}" for entity in world.entities.values() for each in entity.references()}
    assert references == set(SCOPES)
