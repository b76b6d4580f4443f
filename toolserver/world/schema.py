"""Schema of ToolWorld: semantic types, entities, operations, results and facts.

It does not depend on vendors. Arguments and results of an operation are *semantic* values: ids of the world, lengths in
kilometres, money in USD, dates in ISO form. Vendors (`toolserver.world.vendors`) map them to names, units and layouts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from toolserver.catalog.api_schema import Outcome
from toolserver.world.changes import Changes
from toolserver.world.seeded_random import SeededRandom


class ValueKind(StrEnum):
    """Format of a semantic value."""

    ID = "id"
    TEXT = "text"
    ENUM = "enum"
    INTEGER = "integer"
    NUMBER = "number"
    DATE = "date"  # ISO text, e.g. "2031-05-04"
    TIME = "time"  # "14:05"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True)
class SemanticType:
    """Meaning of a value. An output of a type can feed any input of the type with the same `name`.

    Attributes:
        name: Unique name, e.g. `city_id`, `money`, `genre`.
        kind: Format of the values.
        unit: Base unit of a quantity (`USD`, `km`, ...); else empty.
        entity: Entity type of an id or a name; else empty.
        values: Values of an ENUM, in a fixed order.
        decimals: Number of decimals of a NUMBER.
    """

    name: str
    kind: ValueKind
    unit: str = ""
    entity: str = ""
    values: tuple[str, ...] = ()
    decimals: int = 0

    def __hash__(self) -> int:
        # Hashing the name alone is faster; few types share a name.
        return hash(self.name)


class OperationKind(StrEnum):
    """Kind of an operation."""

    SEARCH = "search"  # name -> ids
    DETAILS = "details"  # id -> attributes
    LOOKUP = "lookup"  # id -> one attribute
    LIST = "list"  # optional filters -> ids
    RELATED = "related"  # parent id -> ids of its children
    RANK = "rank"  # parent id -> children by an attribute
    COMPARE = "compare"  # two ids -> the one with the higher value, and the difference
    AGGREGATE = "aggregate"  # parent id -> count and mean over its children
    COMPUTE = "compute"  # values -> values
    CREATE = "create"  # a write: create a record (book, order, subscribe)
    CANCEL = "cancel"  # a write: set a record's status to cancelled
    UPDATE = "update"  # a write: change one attribute of a record
    LOGIN = "login"  # -> token for the vendor's other APIs

    def __init__(self, name: str) -> None:
        self.writes = name in ("create", "cancel", "update")
        """True if operations of this kind change the world."""


@dataclass(slots=True)
class DrawContext:
    """Arguments of a generator of attribute values.

    Attributes:
        rng: Random generator of the column.
        index: Position of the row in its table, 0-based.
        row: Values of the columns to the left.
        world: The world, for ids of other tables.
    """

    rng: SeededRandom
    index: int
    row: dict[str, Any]
    world: WorldView


ValueGenerator = Callable[[DrawContext], Any]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One column of an entity table.

    Attributes:
        name: Name within its entity type, e.g. `population`; of a reference the name of its target's id (`city_id`).
        type: Semantic type.
        generate: Function that draws a value.
        label: Words for it in a question, e.g. "population".
        aka: Other names that vendors use.
        measure: It can be ranked, compared and averaged.
        volatile: It changes with time: a stale vendor shows an old value.
    """

    name: str
    type: SemanticType
    generate: ValueGenerator
    label: str
    aka: tuple[str, ...] = ()
    measure: bool = False
    volatile: bool = False


@dataclass(frozen=True, slots=True)
class EntityType:
    """A table of the world.

    Attributes:
        name: Unique name.
        plural: Plural noun.
        label: Singular noun.
        prefix: Unique prefix of its ids.
        counts: Number of rows per level (lite, standard, full).
        attributes: Columns; the first is the name of a row.
        digits: Number of digits of an id.
        record: Writes create its rows (a reservation, an order). Records are not ranked, compared or averaged.
    """

    name: str
    plural: str
    label: str
    prefix: str
    counts: tuple[int, int, int]
    attributes: tuple[Attribute, ...]
    digits: int = 4
    record: bool = False

    @property
    def id_name(self) -> str:
        """Name of the id and of its semantic type, e.g. `city_id`."""
        return f"{self.name}_id"

    def attribute(self, name: str) -> Attribute:
        """Return the attribute called `name`. Raises `KeyError` for an unknown name."""
        for attribute in self.attributes:
            if attribute.name == name:
                return attribute
        raise KeyError(f"{self.name} has no attribute {name!r}")

    def references(self) -> Iterator[Attribute]:
        """Iterate over the attributes that are ids of other tables."""
        return (attribute for attribute in self.attributes if attribute.type.kind is ValueKind.ID)


@dataclass(frozen=True, slots=True)
class Slot:
    """One input of an operation.

    Attributes:
        type: Semantic type of its values.
        label: Words for it, e.g. "the id of the city".
        required: A call without it is refused.
        default: Value of an absent optional input; `None` means "not given".
        aka: Other names that vendors use.
        test: Comparison of a filter with `attribute`: `is`, `min` or `max`; else empty.
        attribute: Attribute that a filter compares; else empty.
        low: Smallest accepted number.
        high: Largest accepted number.
    """

    type: SemanticType
    label: str
    required: bool = True
    default: Any = None
    aka: tuple[str, ...] = ()
    test: str = ""
    attribute: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """One output of an operation.

    Attributes:
        type: Semantic type.
        attribute: Qualified name of the attribute (`city.population`), or of the computed value
            (`city.distance.distance`) if `derived`.
        label: Words for it.
        aka: Other names that vendors use.
        derived: It is computed, not read from a row.
        volatile: It changes with time.
    """

    type: SemanticType
    attribute: str
    label: str
    aka: tuple[str, ...] = ()
    derived: bool = False
    volatile: bool = False


class Row(NamedTuple):
    """One row of a result: its entity (empty if derived) and its values by output name."""

    entity: str
    values: dict[str, Any]


class Fact(NamedTuple):
    """One value with its identity: two facts are the same if `entity` and `attribute` are equal.

    `entity` is a row's id or, for a computed value, the computation (`city.distance(C1093,C2231)`).
    """

    entity: str
    attribute: str
    value: Any


class Result(NamedTuple):
    """Result of an operation.

    Attributes:
        operation: The operation that ran.
        arguments: Semantic arguments, including defaults.
        rows: The rows; exactly one for an operation that is not `many`.
        changes: Changes after the call; the same object as before if nothing changed.
        outcome: `OK`, or the reason for which there are no rows.
        message: Words for the outcome; empty if OK.
        total: Number of rows before a vendor selects a page.
    """

    operation: Operation
    arguments: Mapping[str, Any]
    rows: Sequence[Row]
    changes: Changes
    outcome: Outcome = Outcome.OK
    message: str = ""
    total: int = 0

    @property
    def values(self) -> dict[str, Any]:
        """Values of the first row; empty without rows."""
        return self.rows[0].values if self.rows else {}

    def facts(self) -> Iterator[Fact]:
        """Iterate over all values with their identity, row by row."""
        outputs = self.operation.outputs
        derivation = ""
        for row in self.rows:
            for name, value in row.values.items():
                output = outputs[name]
                if output.derived:
                    derivation = derivation or self.derivation()
                    yield Fact(derivation, output.attribute, value)
                else:
                    yield Fact(row.entity, output.attribute, value)

    def derivation(self) -> str:
        """Return the computation as text: the entity of derived facts."""
        inputs = ",".join(str(self.arguments[name]) for name in self.operation.inputs if name in self.arguments)
        return f"{self.operation.name}({inputs})"


class Refusal(Exception):  # noqa: N818  a typed outcome, not a programming error
    """Raised inside an operation or codec to end it with a typed outcome. `execute` and `answer` catch it."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.message = message


class WorldView(Protocol):
    """Part of `toolserver.world.world.World` that operations and generators use."""

    @property
    def seed(self) -> int:
        """Seed of the world."""

    def ids(self, entity: str) -> tuple[str, ...]:
        """See `World.ids`."""

    def need(self, entity: str, row_id: str, changes: Changes) -> dict[str, Any]:
        """See `World.need`."""

    def rows(self, entity: str, ids: Sequence[str], changes: Changes) -> Iterable[tuple[str, dict[str, Any]]]:
        """See `World.rows`."""

    def where(self, entity: str, attribute: str, value: Any, changes: Changes = ...) -> list[str]:
        """See `World.where`."""

    def ranked(
        self, entity: str, by: str, attribute: str = "", value: Any = None, *, descending: bool, changes: Changes
    ) -> Sequence[str]:
        """See `World.ranked`."""

    def find(self, entity: str, text: str, changes: Changes = ...) -> list[str]:
        """See `World.find`."""

    def every(self, entity: str, changes: Changes = ...) -> list[str]:
        """See `World.every`."""


Answer = tuple[Sequence[Row], Changes]
"""Rows of an answer and the changes after the call."""

Run = Callable[[WorldView, Mapping[str, Any], Changes], Answer]
"""Implementation of an operation: world, arguments and changes before the call."""


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation of the world, independent of vendors.

    Attributes:
        name: Unique name, `subject.verb`, e.g. `city.details`, `hotel.top_rating`, `flight.book`.
        kind: Kind of operation.
        subject: Entity type of its rows, or first part of its name.
        inputs: Inputs by name, required ones first.
        outputs: Outputs by name, in display order.
        run: Implementation; callers use `World.execute`.
        attribute: Attribute that it looks up, ranks, compares, averages or updates; else empty.
        parent: Entity type of its input id (related, rank, aggregate); else empty.
        made: Entity type that a write creates or changes; else empty.
        many: It returns any number of rows.
        phrase: Description as a clause: "Find cities by name".
        paraphrases: Other clauses for vendors' documentation.
        verbs: Names that vendors use, as words: ("search city", "find cities").
        stock: Attribute of `subject` that a sale decreases; else empty.
        domain: Name of its domain, set by `operations_of`.
    """

    name: str
    kind: OperationKind
    subject: str
    inputs: Mapping[str, Slot]
    outputs: Mapping[str, Output]
    run: Run = field(repr=False)
    attribute: str = ""
    parent: str = ""
    made: str = ""
    many: bool = False
    phrase: str = ""
    paraphrases: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    stock: str = ""
    domain: str = ""


@dataclass(frozen=True, eq=False)
class Domain:
    """One domain: its tables and its hand-written operations (the others are derived from the tables).

    Attributes:
        name: Unique name.
        category: RapidAPI-like category under which vendors publish it.
        entities: Its tables.
        operations: Its hand-written operations.
        words: Words for the names of its vendors; no other domain has them.
        since: First version of the world that has this domain.
    """

    name: str
    category: str
    entities: tuple[EntityType, ...]
    operations: tuple[Operation, ...] = ()
    words: tuple[str, ...] = ()
    since: int = 1
