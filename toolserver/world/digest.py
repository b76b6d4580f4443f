"""One short text that stands for a whole world: it changes when any row, document or answer changes.

`python -m toolserver.world.digest [SEED LEVEL]` prints it for one world, or for those that the tests keep.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from hashlib import blake2b
from itertools import islice
from typing import Any

from toolserver.catalog.api_schema import encode_body
from toolserver.world.changes import NO_CHANGES
from toolserver.world.samples import sample_arguments
from toolserver.world.vendors import VendorApi, VendorRegistry
from toolserver.world.versions import make_world
from toolserver.world.world import World

KEPT = ((0, "lite"), (7, "lite"), (7, "standard"), (7, "full"))
DIGESTED_APIS = 1000


def world_digest(vendors: VendorRegistry, apis: int | None = None) -> str:
    """BLAKE2b of all tables, of the documentation of the first `apis` APIs and of their answers to a sample call."""
    world = vendors.world
    hasher = blake2b(digest_size=16)
    for part in _parts(world, islice(vendors.apis(), apis)):
        hasher.update(json.dumps(part, ensure_ascii=True, sort_keys=True).encode() + b"\n")
    return hasher.hexdigest()


def _parts(world: World, apis: Iterator[VendorApi]) -> Iterator[Any]:
    for entity in world.entities:
        yield [entity, world.table(entity).rows]
    for api in apis:
        arguments = api.encode_arguments(sample_arguments(api, world))
        answer = api.answer(world, arguments, NO_CHANGES)
        body = encode_body(answer.error, answer.response).decode()
        yield [asdict(api.spec), api.health, arguments, body, answer.outcome, answer.delta.to_json()]


def main(arguments: list[str]) -> None:
    """Print the digests of the kept worlds, or of the one that is named."""
    worlds = [(int(arguments[0]), arguments[1])] if arguments else KEPT
    for seed, level in worlds:
        sys.stdout.write(f"{seed} {level} {world_digest(VendorRegistry(make_world(seed, level)), DIGESTED_APIS)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
