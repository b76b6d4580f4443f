"""Contribution of tool calls, by the data flow of values through the episode.

A value is *new* in a response if neither the query, nor an earlier call or response, nor the call itself contains it.
A call contributes if new values of its response are used in the final answer or in the arguments of a later
contributing call. An id that is looked up and passed on therefore gets credit; repeated values get none.

The weight of a value depends on the probability of a coincidence: an identifier, a date or a long number is evidence
alone; a name or a small number is a hint; a plain word is a weak hint.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

_TOKEN = re.compile(
    r"https?://[^\s\"'<>)\]}\\,]+"  # links
    r"|\w[\w.+-]{0,63}@[\w-]+\.[\w.-]+"  # e-mail addresses, whose bounded length keeps the search linear
    r"|\d[\d,]*(?:\.\d+)?(?![\w])"  # numbers, with thousands separators
    r"|\w[\w-]*"  # words and identifiers
)
_NUMBER = re.compile(r"[\d,.]+")
_RARE, _HINT, _WEAK = 1.0, 0.25, 0.15
_CHANCE = 0.375  # less evidence than a hint and a half is coincidence
_LONG_NUMBER = 3  # digits
_LONG_WORD = 4  # letters
_NOT_VALUES = frozenset(
    """about above according additional after again also api any are available based been before being below between
    both call can code could data date description details did does done each error false find first following for
    found from further get given had has have here http https identifier information image into item its json just
    last like link list look made make many may message more most name need new next none not null number only other
    our out over page please provide provided request response result results search see should some specific status
    success such sure than that the their them then there these they this those title total true two type under until
    url use used user using value very via want was website were what when where which while who will with within
    would www year you your com org net""".split()  # noqa: SIM905 - a text to read, not a list to maintain
)


class Use(NamedTuple):
    """Arguments and response of a call, as text."""

    arguments: str
    response: str


@lru_cache(maxsize=64)  # the texts of an episode are parsed several times
def values(text: str) -> Mapping[str, float]:
    """Return the normalised values in `text` with their weights as evidence of use. Do not modify the result.

    Numbers lose separators and trailing zeros (`1,050.0` is `1050`); words become lower case.
    """
    found: dict[str, float] = {}
    for token in dict.fromkeys(_TOKEN.findall(text)):
        value, weight = _weighed(token)
        if weight > found.get(value, 0.0):
            found[value] = weight
    return found


def contributions(query: str, calls: Sequence[Use], answer: str) -> tuple[float, ...]:
    """Return the contribution of each call to `answer`, 0 to 1. Shape: (calls,)."""
    new = _new_values(query, calls)
    sent = [values(call.arguments) for call in calls]
    in_answer = values(answer)
    credit = [0.0] * len(calls)
    for index in reversed(range(len(calls))):
        later = range(index + 1, len(calls))
        passed_on = (credit[step] * _use(new[index], sent[step]) for step in later if credit[step])
        credit[index] = max([_use(new[index], in_answer), *passed_on])
    return tuple(credit)


def evidence(sources: Sequence[str], text: str) -> float:
    """Return the evidence that `text` uses a value of `sources`, 0 to 1."""
    found: dict[str, float] = {}
    for source in sources:
        found |= values(source)
    return _use(found, values(text))


def _new_values(query: str, calls: Sequence[Use]) -> list[dict[str, float]]:
    known = set(values(query))
    new = []
    for call in calls:
        known |= values(call.arguments).keys()
        response = values(call.response)
        new.append({value: weight for value, weight in response.items() if value not in known})
        known |= response.keys()
    return new


def _use(new: Mapping[str, float], used: Mapping[str, float]) -> float:
    """Return the evidence that `new` values were used: the sum of weights up to 1, 0 below the level of chance."""
    evidence = sum(weight for value, weight in new.items() if value in used)
    return min(1.0, evidence) if evidence >= _CHANCE else 0.0


@lru_cache(maxsize=65536)  # responses of an API repeat words
def _weighed(token: str) -> tuple[str, float]:
    """Return the value of a token and its weight; 0 if it is not evidence."""
    value, weight = _number_value(token) if _NUMBER.fullmatch(token) else _word_value(token)
    return (value, 0.0) if value in _NOT_VALUES else (value, weight)


def _number_value(token: str) -> tuple[str, float]:
    digits = token.replace(",", "").rstrip(".")
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    digits = digits.lstrip("0") or "0"
    return digits, _RARE if len(digits.replace(".", "")) >= _LONG_NUMBER else _HINT / 2


def _word_value(token: str) -> tuple[str, float]:
    value = token.rstrip(".,-_").lower()
    if not value.isalpha() and ("://" in value or "@" in value or any(map(str.isdigit, value))):
        return value, _RARE if len(value) > _LONG_NUMBER else _HINT
    if len(value) < _LONG_WORD:
        return value, 0.0
    return value, _HINT if token[0].isupper() else _WEAK
