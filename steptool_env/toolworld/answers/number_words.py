"""Normalisation of numbers in a text: spelled numbers become digits, ordinals and list numbers are removed."""

import re

_ORDINAL = re.compile(r"\b\d+(?:st|nd|rd|th)\b|\b(?:step|option|part|item|call|query)\s+#?\d+\b|#\d+\b", re.IGNORECASE)
_NUMBERED = re.compile(
    r"(?m)^[ \t]*(?:[-•#>]+[ \t]*)?\(?(\d{1,2})[.):]{1,2}(?=[ \t])|(?<=[\s(])\(?(\d{1,2})\)(?=[ \t])"
)
_ONES = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {word: value for value, word in enumerate(_ONES.split())}
_WORDS |= {word: 10 * ten for ten, word in enumerate(_TENS.split(), start=2)}
SPELLED = frozenset(_WORDS)
"""First words of spelled numbers."""
_COUNTED = frozenset({"st", "nd", "rd", "th", "step", "option", "part", "item", "call", "query"})
_POWERS = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_ANY_WORD = "|".join(sorted((*_WORDS, *_POWERS), key=len, reverse=True))
_DIGITS = {word: str(value) for word, value in _WORDS.items() if value < 10}
_IN_WORDS = re.compile(
    rf"\b(?P<whole>(?:{'|'.join(_WORDS)})(?:(?:[\s-]+|[\s-]+and\s+)(?:{_ANY_WORD}))*)"
    rf"(?:\s+point(?P<decimals>(?:\s+(?:{'|'.join(_DIGITS)}))+))?\b",
    re.IGNORECASE,
)
_FEW = 12
"""Largest spelled number that contradicts nothing beside digits ("the two cities"); it can still be right."""


def in_digits(text: str, words: frozenset[str]) -> str:
    """Return a text with spelled numbers in digits (small ones marked), without ordinals and list numbers.

    Args:
        text: Text to normalise.
        words: Words of the text in lower case.
    """
    if not words.isdisjoint(SPELLED):
        text = _IN_WORDS.sub(_spelled, text)
    if "#" in text or not words.isdisjoint(_COUNTED):
        text = _ORDINAL.sub(lambda match: "\x00" * len(match[0]), text)
    return _without_numbering(text)


def _without_numbering(text: str) -> str:
    """Return a text without list numbers: 1, 2, 3, ... in this order before its lines or parts."""
    marks, expected = list(_NUMBERED.finditer(text)), 1
    for place, match in enumerate(marks):
        number, inline = int(match[1] or match[2]), match[1] is None
        alone = number == 1 and (place + 1 == len(marks) or int(marks[place + 1][1] or marks[place + 1][2]) != 2)
        if number == 1:
            expected = 1
        if number == expected and not (alone and (inline or not text[match.end() :].strip())):
            text = text[: match.start()] + "\x00" * (match.end() - match.start()) + text[match.end() :]
            expected += 1
    return text


def _spelled(match: re.Match[str]) -> str:
    total = part = 0
    for word in re.split(r"[\s-]+", match["whole"].lower()):
        power = _POWERS.get(word)
        if power is None:
            part += _WORDS.get(word, 0)
        elif power == 100:
            part *= 100
        else:
            total, part = total + part * power, 0
    total += part
    if match["decimals"]:
        return f"{total}.{''.join(_DIGITS[word] for word in match['decimals'].lower().split())}"
    if total == 1 and match.string.startswith(" of ", match.end()):  # "one of them" is no count
        return "\x00"
    return f"\x02{total}" if total <= _FEW else str(total)
