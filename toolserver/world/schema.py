"""The vocabulary of ToolWorld: semantic types, entities, operations, results and facts.

Nothing here knows a vendor. An operation takes and gives *semantic* values: ids as the world spells them, lengths in
kilometres, money in USD, dates in ISO form. Vendors (`toolserver.world.vendors`) put names, units and layouts over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from toolserver.catalog.api_schema import Outcome
from toolserver.world.changes import Changes
from toolserver.world.seeded_random import SeededRandom


class Kind(StrEnum):
    """How a semantic value is written down."""

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
    """What a value means. An output of a type can feed any input of the type with the same `name`.

    Attributes:
        name: Unique name, e.g. `city_id`, `money`, `genre`.
        kind: How values are written.
        unit: Base unit of a quantity (`USD`, `km`, ...); empty for everything else.
        entity: The entity type that an id or a name belongs to; else empty.
        values: The values of an ENUM, in a fixed order.
        decimals: Digits after the point that a NUMBER is rounded to.
    """

    name: str
    kind: Kind
    unit: str = ""
    entity: str = ""
    values: tuple[str, ...] = ()
    decimals: int = 0

    def __hash__(self) -> int:
        # Types are looked up often, and few share a name.
        return hash(self.name)


class OperationKind(StrEnum):
    """What sort of thing an operation does."""

    SEARCH = "search"  # name -> ids
    DETAILS = "details"  # id -> attributes
    LOOKUP = "lookup"  # id -> one attribute
    LIST = "list"  # optional filters -> ids
    RELATED = "related"  # parent id -> ids of its children
    RANK = "rank"  # parent id -> children by an attribute
    COMPARE = "compare"  # two ids -> which has more, and the difference
    AGGREGATE = "aggregate"  # parent id -> count and mean over its children
    COMPUTE = "compute"  # values -> values
    CREATE = "create"  # a write: book, order, subscribe
    CANCEL = "cancel"  # a write: ends something that was created
    UPDATE = "update"  # a write: changes one field
    LOGIN = "login"  # gives the token that a vendor's other APIs want

    @property
    def writes(self) -> bool:
        """Whether operations of this kind change the world."""
        return self in _WRITES


_WRITES = (OperationKind.CREATE, OperationKind.CANCEL, OperationKind.UPDATE)


@dataclass(slots=True)
class Draw:
    """What a generator of attribute values sees.

    Attributes:
        stream: The column's own random stream.
        index: Position of the row in its table, 0-based.
        row: The row so far (columns are made from left to right).
        world: The world, for ids of other tables.
    """

    stream: SeededRandom
    index: int
    row: dict[str, Any]
    world: WorldView


Maker = Callable[[Draw], Any]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One column of an entity table.

    Attributes:
        name: Name within its entity type, e.g. `population`; a reference is called like its target's id (`city_id`).
        type: Its semantic type.
        make: Draws a value.
        label: The words for it in a question, e.g. "population".
        aka: What vendors call it besides `name`.
        measure: Whether it can be ranked, compared and averaged.
        volatile: Whether it changes with time, so that a stale vendor shows an old value.
    """

    name: str
    type: SemanticType
    make: Maker
    label: str
    aka: tuple[str, ...] = ()
    measure: bool = False
    volatile: bool = False


@dataclass(frozen=True, slots=True)
class EntityType:
    """A table of the world.

    The first attribute is the one by which people name a row. `counts` are the rows per level (lite, standard, full).
    A `record` is what a write creates (a reservation, an order): it is looked up and listed, not ranked or compared.
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
        """Name of the id of this type, e.g. `city_id`; also the name of its semantic type."""
        return f"{self.name}_id"

    def attribute(self, name: str) -> Attribute:
        """The attribute called `name`. Raises `KeyError` when there is none."""
        for attribute in self.attributes:
            if attribute.name == name:
                return attribute
        raise KeyError(f"{self.name} has no attribute {name!r}")

    def references(self) -> Iterator[Attribute]:
        """The attributes that point to rows of other tables."""
        return (attribute for attribute in self.attributes if attribute.type.kind is Kind.ID)


@dataclass(frozen=True, slots=True)
class Slot:
    """One input of an operation.

    Attributes:
        type: What it takes.
        label: Words for it, e.g. "the id of the city".
        required: Whether a call without it is refused.
        default: What an optional input is when it is absent; `None` means "not given".
        aka: What vendors call it besides its name.
        test: For filters, how it is compared with `attribute`: `is`, `min` or `max`; else empty.
        attribute: For filters, the attribute that is compared.
        low: Smallest number accepted.
        high: Largest number accepted.
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

    `attribute` is the qualified name of the fact it carries (`city.population`), or of the operation's own
    result (`city.distance.distance`) when `derived`.
    """

    type: SemanticType
    attribute: str
    label: str
    aka: tuple[str, ...] = ()
    derived: bool = False
    volatile: bool = False


class Row(NamedTuple):
    """One row of a result: the entity it is about (empty when derived) and its values by output name."""

    entity: str
    values: dict[str, Any]


class Fact(NamedTuple):
    """One value with its identity: two calls supplied the same fact exactly when the first two fields agree.

    `entity` is a row's id, or, for a computed value, the computation (`city.distance(C1093,C2231)`).
    """

    entity: str
    attribute: str
    value: Any


class Result(NamedTuple):
    """What an operation gave.

    Attributes:
        operation: The operation that ran.
        arguments: Its semantic arguments, defaults included.
        rows: The rows; exactly one for operations that are not `many`.
        outcome: `OK`, or why there are no rows.
        message: Words for the outcome, empty when OK.
        delta: The changes after the call; the very object that was passed in when nothing changed.
        total: How many rows there are altogether (a vendor may show fewer of them).
    """

    operation: Operation
    arguments: Mapping[str, Any]
    rows: Sequence[Row]
    delta: Changes
    outcome: Outcome = Outcome.OK
    message: str = ""
    total: int = 0

    @property
    def values(self) -> dict[str, Any]:
        """The values of the first row; empty when there is none."""
        return self.rows[0].values if self.rows else {}

    def facts(self) -> Iterator[Fact]:
        """Every value of the result with its identity, row by row."""
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
        """The computation as text, the entity of derived facts."""
        inputs = ",".join(str(self.arguments[name]) for name in self.operation.inputs if name in self.arguments)
        return f"{self.operation.name}({inputs})"


class Refusal(Exception):  # noqa: N818  a typed outcome on its way out, not a programming error
    """Raised inside an operation or codec to end it with a typed outcome; never leaves the world."""

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

    def need(self, entity: str, row_id: str, delta: Changes) -> dict[str, Any]:
        """See `World.need`."""

    def rows(self, entity: str, ids: Sequence[str], delta: Changes) -> Iterable[tuple[str, dict[str, Any]]]:
        """See `World.rows`."""

    def where(self, entity: str, attribute: str, value: Any, delta: Changes = ...) -> list[str]:
        """See `World.where`."""

    def ranked(
        self, entity: str, by: str, attribute: str = "", value: Any = None, *, descending: bool, delta: Changes
    ) -> Sequence[str]:
        """See `World.ranked`."""

    def find(self, entity: str, text: str, delta: Changes = ...) -> list[str]:
        """See `World.find`."""

    def every(self, entity: str, delta: Changes = ...) -> list[str]:
        """See `World.every`."""


Answer = tuple[Sequence[Row], Changes]
"""Rows of an answer and the changes after the call."""

Run = Callable[[WorldView, Mapping[str, Any], Changes], Answer]
"""Implementation of an operation: world, arguments and changes before the call."""


@dataclass(frozen=True, eq=False)
class Operation:
    """Something the world can do, free of any vendor. Identity is its name.

    Attributes:
        name: Unique, `subject.verb`, e.g. `city.details`, `hotel.top_rating`, `flight.book`.
        domain: Name of its domain.
        kind: What sort of operation it is.
        subject: Entity type that it is about.
        inputs: Its inputs by name, required ones first.
        outputs: Its outputs by name, in display order.
        run: The implementation; use `World.execute`.
        attribute: The attribute that is looked up, ranked, compared or averaged; else empty.
        parent: Entity type whose id the operation starts from (related, rank, aggregate); else empty.
        made: Entity type of what a write creates or changes; else empty.
        many: Whether it gives any number of rows.
        phrase: What it does, in a clause: "Find cities by name".
        paraphrases: Other clauses that say the same, for vendors' documentation.
        verbs: Names that vendors give it, as words: ("search city", "find cities").
        stock: The attribute of `subject` that a sale lowers; else empty.
    """

    name: str
    domain: str
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
