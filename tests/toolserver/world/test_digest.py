"""The same seed gives the same world on every Python and machine.

After an intended change of the world, run `python -m toolserver.world.digest`, update the digests here, and note it in
the changelog: all tasks change with the world.
"""

import os
import subprocess
import sys

import pytest

from toolserver.world import VendorRegistry, make_world
from toolserver.world.digest import DIGESTED_APIS, world_digest

DIGESTS = {
    (0, "lite"): "abceb79128a2b713e77fefc347c2440c",
    (7, "lite"): "0135602d9295479fdaf29a37bd55d3cc",
    (7, "standard"): "bd7c0ec35eb466576af686b4193211c4",
    (7, "full"): "4dd85ebcac9983070bfd48ebabe0ad25",
}


@pytest.mark.parametrize(("seed", "level"), DIGESTS)
def test_the_world_of_a_seed_is_what_it_always_was(seed: int, level: str) -> None:
    assert world_digest(VendorRegistry(make_world(seed, level)), DIGESTED_APIS) == DIGESTS[seed, level]


def test_the_world_does_not_depend_on_the_hashing_of_text() -> None:
    """Another `PYTHONHASHSEED` gives other orders of sets; none may reach the world."""
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    command = [sys.executable, "-m", "toolserver.world.digest", "0", "lite"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "lite", DIGESTS[0, "lite"]]
