"""Style of a vendor: spelling of names, units, formats and layout."""

from dataclasses import dataclass
from zlib import crc32

from toolserver.world.levels import WorldLevel
from toolserver.world.seeded_random import SeededRandom

_CASES = ("snake", "snake", "camel", "camel", "pascal", "kebab")
_DATES = ("iso", "iso", "us", "european", "compact")
_LISTS = ("bare", "items", "results", "data")
_WRAPS = ("none", "none", "data", "result", "envelope")


@dataclass(frozen=True, slots=True)
class ValueStyle:
    """Formats of a vendor's values.

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
    """Style of one vendor.

    Attributes:
        values: Formats of values.
        fields: Case of parameter and field names: `snake`, `camel`, `pascal` or `kebab`.
        endpoints: Case of API names: that of `fields`, `title` or `path`.
        synonyms: Number that selects synonyms; 0 for the world's names.
        suffixes: Field names contain units.
        wrap: Wrapper of a single row: `none`, `data`, `result` or `envelope`.
        lists: `bare` list of rows, or the key of the list beside a total: `items`, `results` or `data`.
        group: Name of the object with the attributes of a details answer; empty for a flat answer.
        page_size: Rows per page; 0 without pages.
        needs_token: Its APIs need a token from its login API.
        stale: It shows old values.
        errors: Number that selects the wording of errors, 0 to 3.
        doc_style: Number that selects the wording of documentation, 0 to 3.
    """

    values: ValueStyle = ValueStyle()
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
        """Return the vendor's word for `name`; the same in all of its APIs."""
        if not self.synonyms or not aka:
            return name
        return (name, *aka)[(crc32(name.encode()) ^ self.synonyms) % (1 + len(aka))]


def draw_style(rng: SeededRandom, level: WorldLevel, reliable: bool) -> VendorStyle:
    """Draw the style of a vendor. A `reliable` one is not stale and needs no token."""
    if level.plain:
        return VendorStyle(
            synonyms=rng.below(1 << 30),
            wrap=rng.pick(("none", "none", "data")),
            lists=rng.pick(("bare", "bare", "results")),
            needs_token=rng.chance(0.1) and not reliable,
            stale=rng.chance(0.1) and not reliable,
            page_size=4 if rng.chance(0.1) else 0,
            errors=rng.below(4),
            doc_style=rng.below(4),
        )
    values = ValueStyle(
        imperial=rng.chance(0.3),
        cents=rng.chance(0.15),
        dates=rng.pick(_DATES),
        twelve_hours=rng.chance(0.25),
        text_numbers=rng.chance(0.15),
        enums=rng.pick(("lower", "lower", "upper", "title")),
    )
    fields = rng.pick(_CASES)
    return VendorStyle(
        values,
        fields,
        rng.pick((fields, "title", "title", "path")),
        synonyms=rng.below(1 << 30),
        suffixes=rng.chance(0.3),
        wrap=rng.pick(_WRAPS),
        lists=rng.pick(_LISTS),
        group=rng.pick(("", "", "attributes", "info", "details")),
        page_size=rng.pick((0, 0, 0, 5, 10)),
        needs_token=rng.chance(0.15) and not reliable,
        stale=rng.chance(0.1) and not reliable,
        errors=rng.below(4),
        doc_style=rng.below(4),
    )
