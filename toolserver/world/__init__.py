"""ToolWorld: a procedural world of tools with verifiable answers.

It has two layers.

*World.* `make_world(seed, level)` returns a `World`: tables of entities over several domains, and operations on them.
An `Operation` has typed `inputs` (`Slot`) and `outputs` (`Output`); an output of semantic type `city_id` can feed any
input of type `city_id`. `world.execute(operation, arguments, changes)` returns a `Result`: rows of values, a typed
`outcome` with a `message`, and the `changes` after the call. Every value of a result is a `Fact(entity, attribute,
value)` (`result.facts()`). Writes do not modify the world: they return a longer `Changes`, a small JSON-able record;
the ids of created rows depend on the world's seed and the changes before the call.

*Vendors.* `VendorRegistry(world)` publishes the operations as APIs in many styles. A `VendorTool` has `apis`. A
`VendorApi` has its documentation (`spec`), its `operation`, its flags (`health`, `needs_token`, `pages`) and four
mappings: `encode_arguments(semantic) -> JSON object`, `decode_arguments(JSON object) -> semantic` (or `Refusal`),
`render(result) -> JSON value` and `read(JSON value) -> list of semantic rows`. `api.answer(world, arguments, changes)`
takes any JSON object and returns a `VendorAnswer` with a typed outcome. `WorldResolver` connects it to a `ToolService`.
"""

from toolserver.world.changes import NO_CHANGES, Changes
from toolserver.world.schema import (
    Domain,
    EntityType,
    Operation,
    OperationKind,
    Refusal,
    Result,
    SemanticType,
    ValueKind,
)
from toolserver.world.vendors import Health, VendorApi, VendorRegistry
from toolserver.world.versions import WORLD_VERSION, make_world
from toolserver.world.world import World

__all__ = [
    "NO_CHANGES",
    "WORLD_VERSION",
    "Changes",
    "Domain",
    "EntityType",
    "Health",
    "Operation",
    "OperationKind",
    "Refusal",
    "Result",
    "SemanticType",
    "ValueKind",
    "VendorApi",
    "VendorRegistry",
    "World",
    "make_world",
]
