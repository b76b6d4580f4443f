"""Documentation of vendors' APIs: from one clause (`lite`) to the length of RapidAPI's (`full`)."""

from collections.abc import Iterator
from typing import NamedTuple

from toolserver.catalog.api_schema import Parameter
from toolserver.world.schema import Domain, Operation, OperationKind, Output, Slot, ValueKind
from toolserver.world.seeded_random import number
from toolserver.world.vendors.style import VendorStyle
from toolserver.world.vendors.value_codecs import Codec, codec_of

STALE_NOTE = "Archive data as of 2029, no longer updated."
_ID_ENDINGS = ("id", "code", "ref", "key", "reference")
_OPENINGS = ("", "This endpoint: ", "Use this endpoint to get the following. ", "[v1] ")
_IDS = {
    OperationKind.SEARCH: (
        "Returns the ids that the other endpoints need.",
        "Matching is case-insensitive; an exact match wins over partial ones.",
        "Partial names are fine. Each hit carries its id.",
        "No hit gives an empty list.",
    ),
    OperationKind.LIST: (
        "Filters are combined with AND.",
        "Leave out a filter to ignore it.",
        "All filters must hold for a row to be returned.",
        "Without a match the list is empty.",
    ),
    OperationKind.RANK: (
        "The best row comes first.",
        "Rows are sorted; ties keep the order of the catalogue.",
        "Useful for leader boards and shortlists.",
        "Sorted on the server, so there is no need to fetch everything.",
    ),
    OperationKind.CREATE: (
        "The returned reference is needed to cancel or change it later.",
        "Availability is checked at the time of the call.",
        "Refused when nothing is left.",
        "Takes effect at once.",
    ),
}
_ANY = (
    "Data is served from our own database.",
    "Answers are JSON in UTF-8.",
    "Unknown ids are answered with an error.",
    "Please handle errors: the error field says what went wrong.",
)
_TOOL_TEXTS = (
    "{name} gives developers simple access to {category} data: {plurals}, and more.",
    "The {category} API of {name}. Covers {plurals}. Free plan available.",
    "Fast and reliable {category} data ({plurals}) for your app, by {name}.",
    "{name}: {plurals} in one place.",
)


class Extras(NamedTuple):
    """Properties that a vendor adds to an operation and documents.

    Attributes:
        stale: The API shows old values.
        token_name: Parameter of the token; empty without one.
        login: Name of the login API.
        page_size: Rows per page; 0 without pages.
        rows: Maximum number of rows without pages.
    """

    stale: bool
    token_name: str
    login: str
    page_size: int
    rows: int


def describe(operation: Operation, style: VendorStyle, extras: Extras, wordiness: int) -> str:
    """Return the description of one API."""
    notes = list(_notes(operation, style, extras, wordiness))
    opening = _OPENINGS[style.doc_style] if wordiness > 1 else ""
    clauses = (operation.phrase, *operation.paraphrases)
    clause = clauses[style.doc_style % len(clauses)]
    sentence = clause if wordiness == 0 and not notes else f"{clause}."
    return " ".join((opening + sentence, *notes))


def _notes(operation: Operation, style: VendorStyle, extras: Extras, wordiness: int) -> Iterator[str]:
    if wordiness:
        texts = _IDS.get(operation.kind, _ANY)
        yield texts[number(operation.name, style.synonyms) % len(texts)]
    if wordiness > 1:
        shown = ", ".join(_label(output) for output in operation.outputs.values())
        yield f"Every {'row' if operation.many else 'answer'} has: {shown}."
        yield _ANY[number(operation.name, style.doc_style) % len(_ANY)]
    if wordiness:
        yield from _units(operation, style, every=wordiness > 1)
    if extras.page_size:
        yield f"{extras.page_size} rows per page." if wordiness else "Paged."
    elif operation.many and wordiness:
        yield f"At most {extras.rows} rows."
    if extras.token_name:
        yield f"Needs {extras.token_name} from {extras.login}."
    if extras.stale:
        yield STALE_NOTE


def _label(output: Output) -> str:
    is_reference = output.type.kind is ValueKind.ID and not output.label.endswith(" id")
    return f"{output.label} id" if is_reference else output.label


def _units(operation: Operation, style: VendorStyle, *, every: bool) -> Iterator[str]:
    """Yield the units of the answer's quantities: all, or those that are not the world's base units."""
    codecs = ((output.label, codec_of(output.type, style.values)) for output in operation.outputs.values())
    units = [
        f"{label} in {codec.unit}"
        for label, codec in codecs
        if codec.unit and codec.unit not in label and (every or codec.foreign)
    ]
    if units:
        yield f"Units: {', '.join(units)}."


def describe_tool(name: str, domain: Domain, style: VendorStyle, wordiness: int) -> str:
    """Return the description of a tool; empty in `lite`."""
    if not wordiness:
        return ""
    plurals = ", ".join(entity.plural for entity in domain.entities)
    text = _TOOL_TEXTS[style.doc_style].format(name=name, category=domain.category, plurals=plurals)
    if style.stale:
        text += f" {STALE_NOTE}"
    return text


def parameter(slot: Slot, name: str, codec: Codec, wordiness: int) -> Parameter:
    """Return the documentation of one parameter."""
    hint = codec.hint
    if wordiness == 0:
        # Only information that the name lacks: the format of a date, the values of an enumeration.
        text = hint.removeprefix("one of ") if codec.type == "STRING" else ""
        if slot.type.kind is ValueKind.ID and not name.lower().endswith(_ID_ENDINGS):
            text = slot.type.name.replace("_", " ")
    else:
        text = slot.label[:1].upper() + slot.label[1:]
        text += f" ({hint})" if hint else ""
    default = "" if slot.required or slot.default is None else slot.default
    if codec.encode is not None and default != "":
        default = codec.encode(default)
    return Parameter(name, codec.type, text, default)
