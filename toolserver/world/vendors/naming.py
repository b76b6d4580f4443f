"""Names of tools, APIs, parameters and fields in a vendor's style."""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from toolserver.calls.naming import parameter_name, standardize
from toolserver.world.generators import words
from toolserver.world.levels import WorldLevel
from toolserver.world.schema import Domain
from toolserver.world.seeded_random import SeededRandom


@lru_cache(maxsize=16384)
def cased(text: str, style: str) -> str:
    """Return words (separated by spaces or `_`) in `snake`, `camel`, `pascal`, `kebab`, `title` or `path` case."""
    parts = text.replace("_", " ").lower().split()
    match style:
        case "camel":
            return parts[0] + "".join(part.capitalize() for part in parts[1:])
        case "pascal":
            return "".join(part.capitalize() for part in parts)
        case "kebab":
            return "-".join(parts)
        case "title":
            return " ".join(part.capitalize() for part in parts)
        case "path":
            return "/" + "/".join((parts[0], "-".join(parts[1:]))) if parts[1:] else f"/{parts[0]}"
    return "_".join(parts)


def unique_names(wanted: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """Return a name per key; no two are equal after standardisation.

    Args:
        wanted: Key, preferred name, and the name that is used if the first is taken.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for key, preferred, fallback in wanted:
        name, number = preferred, 1
        while (folded := parameter_name(name)) in taken:
            name = fallback if number == 1 else f"{fallback}_{number}"
            number += 1
        taken.add(folded)
        names[key] = name
    return names


def tool_names(seed: int, domain: Domain, count: int, level: WorldLevel) -> list[str]:
    """Return `count` vendor names of a domain, different after standardisation: `stayforge`, `Forge Stay API`."""
    rng = SeededRandom(seed, "tool names", domain.name)
    pairs = [(word, stem) for word in domain.words for stem in words.COMPANY_STEMS]
    names: dict[str, str] = {}
    lap = 0
    while len(names) < count:
        lap += 1
        for word, stem in rng.shuffled(pairs):
            name = _tool_name(word, stem, lap, rng, level)
            names.setdefault(standardize(name), name)
            if len(names) == count:
                break
    return list(names.values())


def _tool_name(word: str, stem: str, lap: int, rng: SeededRandom, level: WorldLevel) -> str:
    number = "" if lap == 1 else f" {lap}"
    if level.plain:
        return f"{word}{stem}{number}".lower().replace(" ", "")
    form = rng.below(4)
    if form == 0:
        return f"{stem}{word}{number}"
    if form == 1:
        return f"{stem} {word} API{number}"
    return f"{word} {stem}{number}" if form == 2 else f"{word}-{stem.lower()}{number}"


def key_by_name(names: Mapping[str, str]) -> dict[str, str]:
    """Return the key by every accepted name: as documented, and as in a model's function schema."""
    return {parameter_name(name): key for key, name in names.items()} | {name: key for key, name in names.items()}
