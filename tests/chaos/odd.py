"""Odd JSON, odd texts, and pieces of bytes, all drawn from a generator of random numbers."""

import json
from collections.abc import Iterator
from random import Random

SCALARS = (
    *("null", "true", "0", "-0", "-1", "1e400", "-1e400", "NaN", "Infinity", "9" * 400, "0.1", "1E2", "1" + "0" * 19),
    *('""', '"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '"٣"', '"🤖"', '"a\\u2028b"', '"../etc"', '"__proto__"'),
    *('"' + "x" * 3000 + '"', '"Action: Finish"', '"</tool_call>"', '"{\\"a\\": 1}"'),
)  # fmt: skip
BROKEN = (
    *("", "{", "[", "}", "nul", "'a'", "{'a': 1}", '{"a" 1}', '{"a": 1,}', "\\", "\x00", '"\ud800', "[1, 2", "{}{}"),
)  # fmt: skip
DEPTHS = (2, 33, 100, 127, 129, 500, 960, 990, 1000, 1024, 3000, 20_000)


def nested(rng: Random, whole: bool = False) -> str:
    """A JSON text of a random depth, some of which end too early unless `whole`."""
    depth = rng.choice(DEPTHS)
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")))
    left = depth if whole or rng.random() < 0.9 else rng.randrange(depth)
    return opening * depth + "1" + closing * left


def value(rng: Random, depth: int = 3, whole: bool = False) -> str:
    """A JSON text, some of which are broken unless `whole`."""
    chosen = rng.random()
    if chosen < 0.04:
        return nested(rng, whole)
    if chosen < 0.08 and not whole:
        return rng.choice(BROKEN)
    if not depth or chosen < 0.55:
        return rng.choice(SCALARS)
    inside = [value(rng, depth - 1, whole) for _ in range(rng.randrange(4))]
    if chosen < 0.75:
        return f"[{', '.join(inside)}]"
    names = (rng.choice(('"a"', '"city"', '"\\ud800"', '""', '"a"', '"name"')) for _ in inside)
    return "{" + ", ".join(f"{name}: {each}" for name, each in zip(names, inside, strict=True)) + "}"


def fields(rng: Random, good: dict[str, object], whole: bool = False) -> str:
    """An object with some of its fields replaced by odd values, left out or repeated."""
    parts = []
    for name, each in good.items():
        chosen = rng.random()
        if chosen < 0.1:
            continue
        parts.append((name, value(rng, whole=whole) if chosen < 0.5 else json.dumps(each)))
        if chosen > 0.97:
            parts.append(parts[-1])
    return "{" + ", ".join(f"{json.dumps(name)}: {each}" for name, each in parts) + "}"


def changed(rng: Random, text: str) -> str:
    """A text with a few characters lost, doubled, replaced or moved."""
    for _ in range(rng.randint(1, 4)):
        at, to = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        piece = rng.choice(
            ("", text[at:to] * 2, rng.choice(BROKEN), rng.choice(SCALARS), chr(rng.randrange(0x110000)), text[to:])
        )
        text = text[:at] + piece + text[to if rng.random() < 0.5 else at :]
    return text[:20_000]


def flipped(rng: Random, data: bytes, flips: int = 1) -> bytes:
    """Bytes with some bits flipped."""
    changed = bytearray(data)
    for _ in range(flips):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def damaged(rng: Random, data: bytes) -> bytes:
    """Bytes with flipped bits, a lost piece, zeros or an end that is cut."""
    start = rng.randrange(len(data))
    length = rng.choice((1, 16, 512, 4096))
    kind = rng.randrange(4)
    if kind == 0:
        return flipped(rng, data, rng.choice((1, 1, 1, 8)))
    if kind == 1:
        return data[:start] + data[start + length :]
    if kind == 2:
        return data[:start] + bytes(min(length, len(data) - start)) + data[start + length :]
    return data[:start]


def pieces(rng: Random, data: bytes) -> Iterator[bytes]:
    """The bytes in pieces of random lengths."""
    longest = rng.choice((1, 7, 60, 1000, 100_000)) if len(data) < 3000 else rng.choice((500, 100_000))
    while data:
        size = rng.randint(1, longest)
        yield data[:size]
        data = data[size:]
