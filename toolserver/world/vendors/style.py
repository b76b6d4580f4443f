"""A vendor's habits: how it spells names, which units and dates it likes, how it lays out an answer."""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

from toolserver.world.levels import Level
from toolserver.world.seeded_random import SeededRandom

_CASES = ("snake", "snake", "camel", "camel", "pascal", "kebab")
_DATES = ("iso", "iso", "us", "european", "compact")
_LISTS = ("bare", "items", "results", "data")
_WRAPS = ("none", "none", "data", "result", "envelope")


@dataclass(frozen=True, slots=True)
class Values:
    """How a vendor writes values.

    Attributes:
        imperial: Feet, miles, pounds and Fahrenheit instead of metric units.
        cents: Money in cents instead of dollars.
        dates: `iso`, `us` (MM/DD/YYYY), `european` (DD.MM.YYYY) or `compact` (YYYYMMDD).
        twelve_hours: Times as `2:05 PM`.
        text_numbers: Numbers in answers as text.
        enums: `lower`, `upper` or `title` case of enumerations.
    """

    imperial: bool = False
    cents: bool = False
    dates: str = "iso"
    twelve_hours: bool = False
    text_numbers: bool = False
    enums: str = "lower"


@dataclass(frozen=True, slots=True)
class VendorStyle:
    """All habits of one vendor.

    Attributes:
        values: How it writes values.
        fields: Case of parameter and field names: `snake`, `camel`, `pascal` or `kebab`.
        endpoints: Case of API names: those of `fields`, `title` or `path`.
        synonyms: Number that picks its synonyms; 0 keeps the world's own names.
        suffixes: Whether units are part of field names.
        wrap: What is around a single answer: `none`, `data`, `result` or `envelope`.
        lists: How rows come: `bare` list, or under `items`, `results` or `data` beside a total.
        group: Name of the object that holds the attributes of a details answer; empty for a flat one.
        page_size: Rows per page; 0 when the vendor does not page.
        needs_token: Whether its APIs want a token from its login API.
        stale: Whether it shows old values.
        errors: Number that picks the wording of errors.
        voice: Number that picks the wording of documentation.
    """

    values: Values = Values()
    fields: str = "snake"
    endpoints: str = "snake"
    synonyms: int = 0
    suffixes: bool = False
    wrap: str = "none"
    lists: str = "bare"
    group: str = ""
    page_size: int = 0
    needs_token: bool = False
    stale: bool = False
    errors: int = 0
    doc_style: int = 0

    def chosen(self, name: str, aka: tuple[str, ...]) -> str:
        """The vendor's word for `name`; the same in all of its APIs."""
        if not self.synonyms or not aka:
            return name
        return (name, *aka)[(crc32(name.encode()) ^ self.synonyms) % (1 + len(aka))]


def draw_style(stream: SeededRandom, level: Level, reliable: bool) -> VendorStyle:
    """A vendor's habits. A `reliable` one is neither stale nor behind a login."""
    if level.plain:
        return VendorStyle(
            synonyms=stream.below(1 << 30),
            wrap=stream.pick(("none", "none", "data")),
            lists=stream.pick(("bare", "bare", "results")),
            needs_token=stream.chance(0.1) and not reliable,
            stale=stream.chance(0.1) and not reliable,
            page_size=4 if stream.chance(0.1) else 0,
            errors=stream.below(4),
            doc_style=stream.below(4),
        )
    values = Values(
        imperial=stream.chance(0.3),
        cents=stream.chance(0.15),
        dates=stream.pick(_DATES),
        twelve_hours=stream.chance(0.25),
        text_numbers=stream.chance(0.15),
        enums=stream.pick(("lower", "lower", "upper", "title")),
    )
    fields = stream.pick(_CASES)
    return VendorStyle(
        values,
        fields,
        stream.pick((fields, "title", "title", "path")),
        synonyms=stream.below(1 << 30),
        suffixes=stream.chance(0.3),
        wrap=stream.pick(_WRAPS),
        lists=stream.pick(_LISTS),
        group=stream.pick(("", "", "attributes", "info", "details")),
        page_size=stream.pick((0, 0, 0, 5, 10)),
        needs_token=stream.chance(0.15) and not reliable,
        stale=stream.chance(0.1) and not reliable,
        errors=stream.below(4),
        doc_style=stream.below(4),
    )
