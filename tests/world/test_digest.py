"""The same seed gives the same world on every Python and machine: the digests here were made once and are kept.

After a wanted change of the world, run `python -m toolserver.world.digest` and put its lines here; say so in the
change log, because every task of every seed changes with them.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from toolserver.world import Vendors, World
from toolserver.world.digest import DIGESTED_APIS, world_digest

DIGESTS = {
    (0, "lite"): "14d86153f4e28125f69acc39c81d8003",
    (7, "lite"): "67daae781d8da62209b28d5527a34c2b",
    (7, "standard"): "7240f09a479f076ff410f4a772f53199",
    (7, "full"): "13c8d707f41e8fac44bc0f3f52b10f69",
}


@pytest.mark.parametrize(("seed", "level"), DIGESTS)
def test_the_world_of_a_seed_is_what_it_always_was(seed: int, level: str) -> None:
    assert world_digest(Vendors(World(seed, level)), DIGESTED_APIS) == DIGESTS[seed, level]


def test_the_world_does_not_depend_on_the_hashing_of_text() -> None:
    """Another `PYTHONHASHSEED` gives other orders of sets; none may reach the world."""
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    command = [sys.executable, "-m", "toolserver.world.digest", "0", "lite"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "lite", DIGESTS[0, "lite"]]
