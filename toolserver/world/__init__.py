"""ToolWorld: a procedural world of tools with verifiable answers.

Two layers, one above the other.

*Semantic.* `World(seed, level)` holds tables of entities over many domains. `world.operations` are what can be asked:
an `Operation` has typed `inputs` (`Slot`) and `outputs` (`Output`); an output of semantic type `city_id` can feed any
input of type `city_id`. `world.execute(operation, arguments, delta)` gives a `Result`: rows of values, a typed
`outcome` with a `message`, and the `delta` afterwards. Every value of a result is a `Fact(entity, attribute, value)`
(`result.facts()`), so that one can say which call supplied what. Writes never change the world: they give a longer
`Changes`, a small JSON-able record of changes; ids of created rows follow from the world's seed and the delta.

*Vendor.* `VendorRegistry(world)` publishes the operations as APIs in many styles. A `VendorTool` has `apis`; a
`VendorApi` has its documentation (`spec`), its `operation` and its flags (`health`, `needs_token`, `pages`), and four
mappings: `encode_arguments(semantic) -> JSON object`, `decode_arguments(JSON object) -> semantic` (or `Refusal`),
`render(result) -> JSON value` and `read(JSON value) -> list of semantic rows`. `api.answer(world, arguments, delta)`
is a whole call: it takes any JSON object and always gives a `VendorAnswer` with a typed outcome.
`WorldResolver` puts this behind a `ToolService`.
"""

from toolserver.world.changes import NO_CHANGES, Change, Changes
from toolserver.world.schema import (
    Attribute,
    Domain,
    EntityType,
    Fact,
    Kind,
    Operation,
    OperationKind,
    Output,
    Refusal,
    Result,
    Row,
    SemanticType,
    Slot,
)
from toolserver.world.vendors import Health, VendorAnswer, VendorApi, VendorRegistry, VendorStyle, VendorTool
from toolserver.world.world import World

__all__ = [
    "NO_CHANGES",
    "Attribute",
    "Change",
    "Changes",
    "Domain",
    "EntityType",
    "Fact",
    "Health",
    "Kind",
    "Operation",
    "OperationKind",
    "Output",
    "Refusal",
    "Result",
    "Row",
    "SemanticType",
    "Slot",
    "VendorAnswer",
    "VendorApi",
    "VendorRegistry",
    "VendorStyle",
    "VendorTool",
    "World",
]
