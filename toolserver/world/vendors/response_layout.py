"""JSON layout of a vendor's answers: rendering and parsing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from toolserver.world.schema import Operation, OperationKind, Row, ValueKind
from toolserver.world.vendors.naming import cased, unique_names
from toolserver.world.vendors.style import VendorStyle
from toolserver.world.vendors.value_codecs import Codec, codec_of

_NAMES_OF_KIND = {ValueKind.INTEGER: "int", ValueKind.NUMBER: "float", ValueKind.BOOLEAN: "bool"}
_SYMBOLS = {"km/h": "kmh", "%": "percent"}


class Field(NamedTuple):
    """One field of a row.

    Attributes:
        name: Output name.
        spelled: Name in the JSON.
        codec: Codec of its values.
        grouped: It is inside the group object.
        template: Name of its type in the documentation.
    """

    name: str
    spelled: str
    codec: Codec
    grouped: bool
    template: str


class Layout:
    """JSON layout of one API's answers. `read` is the inverse of `render` up to the codecs' rounding."""

    def __init__(self, operation: Operation, style: VendorStyle) -> None:
        self.many = operation.many
        self.fields = _fields(operation, style)
        self.group = cased(style.group, style.fields) if any(field.grouped for field in self.fields) else ""
        self.rows_key = _rows_key(operation, style)
        self.wrap = "none" if operation.many else style.wrap
        self.page_size = style.page_size if operation.many else 0
        self._total, self._page, self._pages = (
            cased(words, style.fields) for words in ("total", "page", "total pages")
        )

    def render(self, rows: Sequence[Row], total: int, page: int) -> Any:
        """Return the answer with these rows of page `page`; `total` is the number of rows on all pages."""
        if not self.many:
            return self._wrapped(self._row(rows[0]))
        shown = [self._row(row) for row in rows]
        if not self.rows_key:
            return shown
        answer: dict[str, Any] = {self.rows_key: shown, self._total: total}
        if self.page_size:
            answer |= {self._page: page, self._pages: -(-total // self.page_size)}
        return answer

    def read(self, response: Any) -> list[dict[str, Any]]:
        """Return the rows of a rendered answer as semantic values. Raises `ValueError` for another layout."""
        try:
            if not self.many:
                return [self._unrow(self._unwrapped(response))]
            return [self._unrow(row) for row in (response[self.rows_key] if self.rows_key else response)]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the response does not have this API's layout ({error})") from None

    def template(self) -> Any:
        """Return the layout with names of types instead of values, as in ToolBench's documentation."""
        flat = {field.spelled: field.template for field in self.fields if not field.grouped}
        inside = {field.spelled: field.template for field in self.fields if field.grouped}
        row = flat | ({self.group: inside} if inside else {})
        if not self.many:
            return self._wrapped(row)
        if not self.rows_key:
            return [row]
        more = (self._total, self._page, self._pages) if self.page_size else (self._total,)
        return {self.rows_key: [row]} | dict.fromkeys(more, "int")

    def _row(self, row: Row) -> dict[str, Any]:
        values = row.values
        shown: dict[str, Any] = {}
        inside: dict[str, Any] = {}
        for name, spelled, codec, grouped, _ in self.fields:
            if name not in values:
                continue
            value = values[name]
            if codec.encode is not None and value is not None:
                value = codec.encode(value)
            (inside if grouped else shown)[spelled] = value
        if inside:
            shown[self.group] = inside
        return shown

    def _unrow(self, row: Any) -> dict[str, Any]:
        inside = row.get(self.group, {}) if self.group else {}
        values = {}
        for name, spelled, codec, grouped, _ in self.fields:
            where = inside if grouped else row
            if spelled in where:
                value = where[spelled]
                values[name] = value if value is None else codec.decode(value)
        if not values:
            raise ValueError("the response does not have this API's layout (a row has none of its fields)")
        return values

    def _wrapped(self, row: dict[str, Any]) -> Any:
        if self.wrap == "envelope":
            return {"status": "success", "result": row}
        return row if self.wrap == "none" else {self.wrap: row}

    def _unwrapped(self, response: Any) -> Any:
        if self.wrap == "none":
            return response
        return response["result" if self.wrap == "envelope" else self.wrap]


def _rows_key(operation: Operation, style: VendorStyle) -> str:
    """Return the key of the list of rows; empty for a bare list, which cannot have page numbers."""
    if not operation.many or (style.lists == "bare" and not style.page_size):
        return ""
    return "results" if style.lists == "bare" else style.lists


def _fields(operation: Operation, style: VendorStyle) -> tuple[Field, ...]:
    codecs = {name: codec_of(output.type, style.values) for name, output in operation.outputs.items()}
    wanted = []
    for name, output in operation.outputs.items():
        word = style.chosen(name, output.aka)
        unit = codecs[name].unit
        suffix = f"_{_SYMBOLS.get(unit, unit)}" if unit and (codecs[name].foreign or style.suffixes) else ""
        wanted.append((name, cased(word + suffix, style.fields), cased(name + suffix, style.fields)))
    names = unique_names(wanted)
    grouping = bool(style.group) and operation.kind is OperationKind.DETAILS
    return tuple(
        Field(name, names[name], codecs[name], grouping and position > 0, _template(output.type.kind, style))
        for position, (name, output) in enumerate(operation.outputs.items())
    )


def _template(kind: ValueKind, style: VendorStyle) -> str:
    name = _NAMES_OF_KIND.get(kind, "str")
    return "str" if style.values.text_numbers and name in ("int", "float") else name
