"""Digest of a world: it changes if any row, documentation text or answer changes.

`python -m toolserver.world.digest [SEED LEVEL]` prints the digest of one world, by default of the worlds in the tests.
"""

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

DIGESTED_WORLDS = ((0, "lite"), (7, "lite"), (7, "standard"), (7, "full"))
DIGESTED_APIS = 1000


def world_digest(vendors: VendorRegistry, apis: int | None = None) -> str:
    """Return the BLAKE2b of all tables, of the documentation of the first `apis` APIs and of their sample answers."""
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
        yield [asdict(api.spec), api.health, arguments, body, answer.outcome, answer.changes.to_json()]


def main(arguments: list[str]) -> None:
    """Print the digest of one world, or of all in `DIGESTED_WORLDS`."""
    worlds = [(int(arguments[0]), arguments[1])] if arguments else DIGESTED_WORLDS
    for seed, level in worlds:
        sys.stdout.write(f"{seed} {level} {world_digest(VendorRegistry(make_world(seed, level)), DIGESTED_APIS)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
