"""Resolver that fills the documented response of an API. The same call gives the same bytes on every machine."""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

from toolserver.calls.naming import parameter_name
from toolserver.catalog.api_schema import ApiSpec, Outcome, Provenance, ToolResponse, encode_body
from toolserver.resolvers.base import Resolver, ValidatedCall

_MAX_ITEMS = 3
_MAX_DEPTH = 8
_LENGTH = "_list_length"  # key in StableToolBench's templates: length of a list that was cut to one item

_LIST_TEXT = re.compile(r"list of (\w+) with length (\d+)")  # text in the templates: a list of plain values

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")

# Template of an API without a documented response.
_PLAIN_TEMPLATE = {"status": "str", "data": [{"id": "int", "name": "str", "value": "float"}]}

_WORDS = (
    "amber", "atlas", "birch", "cedar", "civic", "coral", "delta", "ember", "fjord", "grove", "harbor", "indigo",
    "juniper", "lagoon", "maple", "meadow", "north", "oak", "orbit", "pine", "quartz", "river", "sierra", "summit",
    "tidal", "umber", "vale", "willow",
)  # fmt: skip


class SyntheticResolver(Resolver):
    """Fills the template response of an API with values drawn from a hash of the call.

    A field with the name of an argument gets the argument's value. Answers have the provenance `synthetic` and are not
    recorded, as they can be computed again.
    """

    blocking = False

    def resolve(self, call: ValidatedCall) -> ToolResponse | None:
        """Return an answer in the documented shape; `None` for an API without documentation."""
        if call.spec is None:
            return None
        response = _Filler(call.key, call.arguments).fill(_template_of(call.spec), "", 0)
        return ToolResponse(encode_body("", response), Outcome.OK, Provenance.SYNTHETIC)


def _template_of(spec: ApiSpec) -> Any:
    """Return the documented shape of an API's response. Long templates are JSON text, some of it cut and unusable."""
    template = spec.template_response
    if isinstance(template, str) and template.startswith(("{", "[")):
        try:
            template = orjson.loads(template)
        except orjson.JSONDecodeError:
            return _PLAIN_TEMPLATE
    return template or _PLAIN_TEMPLATE


class _Filler:
    """Fills one answer. Draws are counted, so their order is that of the template."""

    def __init__(self, seed: bytes, arguments: Mapping[str, Any]) -> None:
        self._seed = seed
        self._draws = 0
        self._given = {parameter_name(name): value for name, value in arguments.items()}

    def fill(self, template: Any, name: str, depth: int) -> Any:
        """Return a value in the shape of `template`, for the field `name`."""
        if depth > _MAX_DEPTH:
            return None
        if isinstance(template, dict):
            return {key: self.fill(item, key, depth + 1) for key, item in template.items() if key != _LENGTH}
        if isinstance(template, list):
            return [self.fill(item, name, depth + 1) for item in self._items(template)]
        if parameter_name(name) in self._given:
            return self._given[parameter_name(name)]
        return self._leaf(template, _CAMEL.sub("_", name).lower())

    def _items(self, template: list[Any]) -> list[Any]:
        """Return the templates of a list's items: the documented number, at most `_MAX_ITEMS`."""
        length_text = _LIST_TEXT.fullmatch(template[0]) if template and isinstance(template[0], str) else None
        if length_text:
            return [length_text[1]] * min(int(length_text[2]), _MAX_ITEMS)
        if len(template) != 1:
            return template[:_MAX_ITEMS]
        length = template[0].get(_LENGTH, 2) if isinstance(template[0], dict) else 2
        return template * min(length if isinstance(length, int) else 2, _MAX_ITEMS)

    def _leaf(self, template: Any, name: str) -> Any:
        match template:
            case "int" | "integer":
                return self._year() if "year" in name else self._draw(1, 1000)
            case "float":
                return self._draw(100, 100_000) / 100
            case "bool" | "boolean":
                return self._draw(0, 1) == 1
            case "str" | "string":
                return self._text(name)
            case "NoneType":
                return None
            case "empty list" | "list":
                return []
        return template  # an example value

    def _text(self, name: str) -> str:
        if "date" in name or name.endswith(("_at", "time")):
            return f"{self._year()}-{self._draw(1, 12):02d}-{self._draw(1, 28):02d}"
        if "url" in name or "link" in name or "image" in name:
            return f"https://example.com/{self._word()}/{self._draw(100, 999)}"
        if "email" in name:
            return f"{self._word()}@example.com"
        if name == "id" or name.endswith(("_id", "code", "key")):
            return f"{self._word()[:3]}{self._draw(1000, 9999)}"
        if name in ("status", "message", "msg"):
            return "success"
        return f"{self._word().capitalize()} {self._word().capitalize()}"

    def _word(self) -> str:
        return _WORDS[self._draw(0, len(_WORDS) - 1)]

    def _year(self) -> int:
        return self._draw(2015, 2024)

    def _draw(self, low: int, high: int) -> int:
        """Draw an integer from `low` to `high`, both included."""
        self._draws += 1
        digest = blake2b(self._draws.to_bytes(4, "big"), key=self._seed, digest_size=8).digest()
        return low + int.from_bytes(digest, "big") % (high - low + 1)
