"""Each rule of the verifier on tasks of the world: units, ways to write, candidates, comparisons."""

from calendar import month_name
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.toolworld.answers import read_questions
from steptool_env.toolworld import WorldTask, gold_answer
from steptool_env.toolworld.answers.parsing import fold
from steptool_env.toolworld.answers.slots import AnswerSlot, Verdict, slots_of
from tests.steptool_env.toolworld.answers.verdicts import is_right, verifier
from tests.toolserver.world.worlds import LEVELS, tasks
from toolserver.world.schema import OperationKind, ValueKind

Asked = tuple[WorldTask, AnswerSlot]


@cache
def asked() -> tuple[Asked, ...]:
    """Tasks that ask for one thing, of training and of the corpus."""
    drawn = [task for level in LEVELS for task in tasks("train", level, 400)]
    pairs = ((task, slots_of(task)) for task in (*drawn, *(question.task for question in read_questions())))
    return tuple((task, slots[0]) for task, slots in pairs if len(slots) == 1)


def of(fits: Callable[[AnswerSlot], bool], least: int = 3) -> list[Asked]:
    found = [(task, slot) for task, slot in asked() if len(slot.values) == 1 and fits(slot)]
    assert len(found) >= least
    return found[:12]


def in_base_unit(unit: str, least: int = 3) -> list[Asked]:
    return of(lambda slot: slot.type.unit == unit and shows_world_units(slot), least)


def shows_world_units(slot: AnswerSlot) -> bool:
    return not slot.values_shown.imperial and not slot.values_shown.cents


def counts() -> list[Asked]:
    return of(lambda slot: slot.type.name == "count" and slot.type.kind is ValueKind.INTEGER and slot.unit is None)


def verdict(task: WorldTask, answer: str) -> Verdict:
    (found,) = verifier(task).check(answer)
    return found


@pytest.mark.parametrize(
    ("unit", "wrong"),
    [
        ("USD", "EUR GBP yen €|km|kg|percent|million"),
        ("kg", "g tonnes|km|USD|hours|pounds sterling|%"),
        ("km", "m|cm|light years|kg|hours|USD|km/h"),
        ("min", "hours|days|seconds|weeks|km|USD"),
        ("m", "km|feet|cm|yards|kg"),
        ("kcal", "kJ|joules|g|USD"),
    ],
)
def test_the_right_number_with_a_wrong_unit_contradicts(unit: str, wrong: str) -> None:
    for task, slot in in_base_unit(unit, least=1):
        for word in wrong.split("|"):
            for each in word.split(" ") if unit == "USD" and "EUR" in word else [word]:
                answer = f"The answer is {slot.values[0]} {each}."
                assert verdict(task, answer) is Verdict.CONTRADICTED, (task.query, answer)


def test_a_currency_before_the_number_counts() -> None:
    for task, slot in in_base_unit("USD"):
        value = slot.values[0]
        for right in (f"${value}", f"USD {value}", f"US$ {value}", f"{value} US dollars", f"price (USD): {value}"):
            assert is_right(task, right), (task.query, right)
        for wrong in (f"€{value}", f"EUR {value}", f"A${value}", f"£ {value}", f"The price in EUR is {value}.",
                      f'{{"amount": {value}, "currency": "EUR"}}'):  # fmt: skip
            assert verdict(task, wrong) is Verdict.CONTRADICTED, (task.query, wrong)


@pytest.mark.parametrize(
    "word", ["million", "percent", "%", "km", "hours", "USD", "thousand", "kg", "°C", "light years"]
)
def test_a_unit_after_a_plain_number_contradicts(word: str) -> None:
    for task, slot in counts():
        assert verdict(task, f"{slot.values[0]} {word}") is Verdict.CONTRADICTED, task.query


def test_an_unknown_word_after_a_number_is_a_word() -> None:
    for task, slot in counts():
        for word in ("inhabitants", "of them", "in total", "at present", "is the answer"):
            assert is_right(task, f"{slot.values[0]} {word}"), (task.query, word)


@pytest.mark.parametrize(
    ("unit", "factor", "word"),
    [("km", 1000, "metres"), ("km", 1.093613298, "thousand yards"), ("kg", 0.001, "tonnes"), ("kg", 1000, "g"),
     ("kg", 2.204622622, "pounds"), ("min", 60, "seconds"), ("m", 100, "cm"), ("m", 3.280839895, "feet"),
     ("kcal", 4.184, "kJ"), ("USD", 100, "cents")],
)  # fmt: skip
def test_a_unit_of_the_same_dimension_is_converted(unit: str, factor: float, word: str) -> None:
    for task, slot in in_base_unit(unit, least=1):
        assert is_right(task, f"{float(str(slot.values[0])) * factor:.6f} {word}"), (task.query, word)


def test_a_large_count_may_be_stated_in_millions() -> None:
    for task, slot in of(lambda slot: slot.type.name == "count" and str(slot.values[0]).isdigit()
                         and int(str(slot.values[0])) > 10**5 and slot.unit is None):  # fmt: skip
        value = int(str(slot.values[0]))
        assert is_right(task, f"{value / 10**6} million people")
        assert verdict(task, f"{value} million") is Verdict.CONTRADICTED
        assert is_right(task, f"{value:,} (about {round(value / 10**6, 1)} million)")
        assert verdict(task, f"about {round(value / 10**6, 1)} million") is Verdict.MISSING


def test_the_unit_of_a_label_is_the_unit_of_its_number() -> None:
    areas = of(lambda slot: "square metres" in slot.label, least=1)
    for task, slot in areas:
        assert is_right(task, f"{slot.values[0]} m²")
        assert is_right(task, f"{int(str(slot.values[0])) / 10**6} km²")
        assert verdict(task, f"{slot.values[0]} square kilometres") is Verdict.CONTRADICTED
        assert verdict(task, f"{slot.values[0]} m") is Verdict.CONTRADICTED


def test_a_rating_may_name_its_scale() -> None:
    for task, slot in of(lambda slot: slot.type.name == "rating"):
        scale, value = int(slot.scale), slot.values[0]
        for right in (f"{value}/{scale}", f"{value} out of {scale}", f"{value} stars", f"{value} out of {scale} stars"):
            assert is_right(task, right), (task.query, right)
        assert verdict(task, f"{value} out of 100") is Verdict.CONTRADICTED
        assert verdict(task, f"{value} percent") is Verdict.CONTRADICTED


def test_a_duration_may_be_stated_in_parts() -> None:
    for task, slot in of(lambda slot: slot.type.unit == "min" and slot.type.kind is ValueKind.INTEGER):
        hours, minutes = divmod(int(str(slot.values[0])), 60)
        if hours and minutes:
            for right in (f"{hours} hours and {minutes} minutes", f"{hours} h {minutes} min", f"{hours}h{minutes:02d}m",
                          f"{hours}:{minutes:02d} h", f"{hours} hrs, {minutes} mins"):  # fmt: skip
                assert is_right(task, right), (task.query, right)
            assert not is_right(task, f"{hours + 1} hours and {minutes} minutes")


@pytest.mark.parametrize("gap", [" ", "\u00a0", "\u202f", "\u2009", "'", "’", ",", "_"])
def test_digits_may_be_grouped(gap: str) -> None:
    for task, slot in counts():
        assert is_right(task, f"It is {int(str(slot.values[0])):,}.".replace(",", gap)), task.query


def test_a_decimal_comma_is_read() -> None:
    for task, slot in in_base_unit("USD"):
        value = float(str(slot.values[0]))
        assert is_right(task, f"{value:.2f} USD".replace(".", ","))
        assert is_right(task, f"{value:,.2f} USD".translate(str.maketrans(",.", ".,")))


def test_a_date_needs_no_year_where_its_column_has_one() -> None:
    for task, slot in of(lambda slot: slot.type.kind is ValueKind.DATE, least=1):
        year, month, day = map(int, str(slot.values[0]).split("-"))
        name = month_name[month]
        has_one = task.columns.year(slot.attribute) == year
        assert is_right(task, f"{name} {day}") is has_one, task.query
        assert is_right(task, f"on the {day}th of {name}") is has_one, task.query
        assert not is_right(task, f"{name} {day % 28 + 1}")
        assert not is_right(task, f"{name} {day} or {name} {day % 28 + 1}")


def test_a_numbered_list_states_no_numbers() -> None:
    for task, slot in counts():
        assert is_right(task, f"1. I looked it up.\n2. The answer is {slot.values[0]}.")
    sets = [(task, slot) for task, slot in asked() if len(slot.values) > 1 and slot.type.kind is ValueKind.TEXT]
    assert sets
    for task, slot in sets[:12]:
        assert is_right(task, "\n".join(f"{place}. {name}" for place, name in enumerate(slot.values, start=1)))


def test_an_article_may_be_left_out() -> None:
    for task, slot in of(lambda slot: str(slot.values[0]).startswith("The "), least=1):
        name = str(slot.values[0]).removeprefix("The ")
        exists = name in {str(row[slot.attribute.partition(".")[2]]) for row in rows(task, slot)}
        assert is_right(task, f"It is {name}.") is not exists, (task.query, name)


def rows(task: WorldTask, slot: AnswerSlot) -> list[dict[str, object]]:
    return list(task.columns.world.table(slot.attribute.partition(".")[0]).rows.values())


def named() -> list[Asked]:
    return [(task, slot) for task, slot in asked() if slot.type.kind is ValueKind.TEXT]


@pytest.mark.parametrize("form", ["{0} or {1}", "{1} or {0}", "Either {0} or {1}.", "{0}, {1}", "- {0}\n- {1}",
                                  "It is {0}. Maybe {1}.", "{1}; {0}", "{0} and {1}", "{0} / {1}"])  # fmt: skip
def test_a_second_candidate_beside_the_right_one_contradicts(form: str) -> None:
    column_known = 0
    for task, slot in named():
        wanted = {fold(str(value)) for value in slot.values}
        column = [str(row[slot.attribute.partition(".")[2]]) for row in rows(task, slot)]
        others = [name for name in column if fold(name) not in wanted]
        known = [name for name in others if fold(name) in verifier(task).known.names]
        column_known += bool(known)
        for other in [*known, others[0], others[-1]]:
            answer = form.format(gold_answer(task), other)
            assert not is_right(task, answer), (task.query, answer)
    assert column_known > 5  # names that the query or the gold solution has are not an exception


def test_a_longer_name_of_another_table_does_not_state_the_shorter() -> None:
    found = 0
    for question in read_questions():
        task, slot = question.task, slots_of(question.task)[0]
        if slot.attribute == "city.name" and len(slots_of(task)) == len(slot.values) == 1:
            world, name = task.columns.world, str(slot.values[0])
            kinds = ("airport", "team", "school")
            longer = [each for kind in kinds for each in world.table(kind).names if each.startswith(f"{name} ")]
            found += len(longer)
            for each in longer:
                assert verdict(task, f"It is {each}.") is Verdict.MISSING, (task.query, each)
                assert is_right(task, f"It is {name}, the city of {each}."), (task.query, each)
    assert found


def test_what_is_denied_is_not_stated() -> None:
    for task, slot in named():
        if len(slot.values) == 1:
            name = str(slot.values[0])
            column = (str(row[slot.attribute.partition(".")[2]]) for row in rows(task, slot))
            other = next(each for each in column if fold(each) not in verifier(task).known.names | {fold(name)})
            assert is_right(task, f"Not {other} but {name}."), task.query
            assert is_right(task, f"{name}, not {other}."), task.query
            assert is_right(task, f"{name} rather than {other}"), task.query
            assert not is_right(task, f"Not {name} but {other}."), task.query
    for task, slot in counts():
        value = int(str(slot.values[0]))
        assert is_right(task, f"{value}, not {value + 1}")
        assert not is_right(task, f"not {value}")


def test_a_title_with_a_point_ends_no_phrase() -> None:
    (task,) = (each.task for each in read_questions() if each.id == "clinic-best-doctor")
    assert gold_answer(task) == "Dr. Pablo Abara; 289.6"
    assert is_right(task, "Not Dr. Dina Bergman but Dr. Pablo Abara, for 289.6 USD.")
    assert is_right(task, "It is Dr. Pablo Abara rather than Dr. Dina Bergman, for 289.6 USD.")
    assert not is_right(task, "Not Dr. Pablo Abara but Dr. Dina Bergman, for 289.6 USD.")


@cache
def compared() -> tuple[tuple[WorldTask, str, str], ...]:
    """Tasks that ask which of two is more and by how much or not, with the right name and the other."""
    found = []
    for split, level in (("train", "standard"), ("depth-3", "lite"), ("depth-2", "full"), ("depth-3", "standard")):
        for task in tasks(split, level, 150):
            texts = [slot for slot in slots_of(task) if slot.type.kind is ValueKind.TEXT]
            result = task.plan.results[-1]
            if texts and result.operation.kind is OperationKind.COMPARE:
                world, column = task.columns.world, texts[0].attribute.partition(".")[2]
                pair = [str(world.table(result.operation.subject).rows[str(result.arguments[side])][column])
                        for side in ("first_id", "second_id")]  # fmt: skip
                pair.sort(key=lambda name, right=texts[0].values[0]: name != right)
                found.append((task, *pair))
    return tuple(found)


def with_difference(task: WorldTask, text: str) -> str:
    """A text about which of two, with the difference where it is asked, too."""
    numbers = [slot for slot in slots_of(task) if slot.type.kind is not ValueKind.TEXT]
    return f"{text} The difference is {gold_answer(task).split('; ')[-1]}." if numbers else text


SETTLED = (
    "{0} has the higher value.",
    "{0} is higher than {1}.",
    "{0} has more than {1}.",
    "{1} has less than {0}.",
    "Of {0} and {1}, {0} has more.",
    "Between {1} and {0}, {0} is ahead.",
    "{1} is lower, so the answer is {0}.",
    "I compared {1} with {0}: {0} has the higher value.",
    "{0}, not {1}.",
    "Compared to {1}, {0} has more.",
    "{1} vs {0}: {0} wins.",
    "{1} vs. {0}: {0} has more.",
    "The answer is {0} because {1} has a smaller value.",
    "Unlike {1}, {0} has more.",
    "I looked up {1}. Therefore, it is {0}.",
)
UNSETTLED = (
    "{0} or {1}.",
    "{1} or {0}.",
    "{0}, {1}.",
    "{0} and {1}.",
    "Either {1} or {0}.",
    "It could be {0}. It could be {1}.",
    "{1} has more than {0}.",
    "{1} is higher than {0}.",
    "{0} has less than {1}.",
    "{0}. {1}.",
    "One of {0} and {1}.",
    "The difference between {0} and {1} is known.",
    "{1} has the higher value, {0} the lower one.",
    "{0} vs {1}: {1} wins.",
)


@pytest.mark.parametrize("form", SETTLED)
def test_a_comparison_may_be_explained(form: str) -> None:
    assert len(compared()) >= 5
    for task, right, other in compared():
        answer = with_difference(task, form.format(right, other))
        assert is_right(task, answer), (task.query, answer)


@pytest.mark.parametrize("form", UNSETTLED)
def test_naming_both_does_not_settle_a_comparison(form: str) -> None:
    for task, right, other in compared():
        answer = with_difference(task, form.format(right, other))
        assert not is_right(task, answer), (task.query, answer)


def test_a_right_number_beside_a_known_one_is_no_answer() -> None:
    tried = 0
    for task, slot in asked():
        known = [each.value for each in verifier(task).known.values.numbers]
        if not slot.is_number:
            continue
        room = 0.002 * abs(slot.number) if slot.type.unit else 0  # at 60 km/h, 8317.1 km take 8317 minutes
        others = [value for value in known if value > 12 and abs(value - slot.number) > room]
        for other in others[:2]:
            tried += 1
            assert not is_right(task, f"{gold_answer(task)} or {other}"), task.query
            assert not is_right(task, f"{other}, {gold_answer(task)}"), task.query
    assert tried > 5


@given(st.sampled_from(range(12)), st.integers(2, 10**6))
def test_another_number_beside_the_right_one_contradicts(place: int, more: int) -> None:
    for cases in (counts(), in_base_unit("USD")):
        task, slot = cases[place % len(cases)]
        other = round(float(str(slot.values[0])) * 1.01) + more  # beyond the tolerance of a quantity
        if other not in {each.value for each in verifier(task).known.values.numbers}:
            for form in ("{0} or {1}", "{1}, {0}", "between {0} and {1}", "{0}-{1}", "{0}. Or {1}?"):
                assert not is_right(task, form.format(slot.values[0], other)), (task.query, other)


@pytest.mark.parametrize("form", ["It has not been {0}.", "It has not yet been {0}.", "It hasn't been {0}.",
                                  "It is currently not marked {0}."])  # fmt: skip
def test_a_denied_state_is_not_stated(form: str) -> None:
    states = [(task, slot) for task, slot in asked() if slot.type.kind is ValueKind.ENUM]
    states += [(task, slot) for question in read_questions() for task in [question.task] for slot in slots_of(task)
               if slot.type.kind is ValueKind.ENUM and len(slots_of(task)) == 1]  # fmt: skip
    assert states
    for task, slot in states:
        assert not is_right(task, form.format(slot.values[0])), task.query
        assert is_right(task, f"It is not marked otherwise but {slot.values[0]}."), task.query
