"""The same seed gives the same tasks on every Python and machine, whatever the order of its sets.

After a wanted change of the world or of its tasks, run this file as a module and put its lines here; say so in the
change log.
"""

import json
import os
import subprocess
import sys
from hashlib import blake2b

import pytest

from steptool_env.toolworld import TaskSampler, gold_answer
from toolserver.world import make_world
from toolserver.world.vendors import VendorRegistry

DIGESTS = {
    "lite": "0ecb29a878ffddebd296c5132bbbf0b3",
    "standard": "7b06837de02943a6ec4684baa8a3fcdc",
    "full": "75accf3f0b70da8efbd2733db0b616b9",
}


def digest_of(level: str) -> str:
    """Return the BLAKE2b of queries, toolsets and answers of some tasks of some splits."""
    hasher = blake2b(digest_size=16)
    vendors = VendorRegistry(make_world(0, level))
    for split in ("train", "practice", "depth-4", "G1_tool", "G3_instruction", "unsolvable"):
        sampler = TaskSampler(vendors, split)
        for index in range(100):
            task = sampler.task(index)
            offered = [api.key for api in task.toolset.apis]
            part = [task.id, task.query, offered, gold_answer(task), task.obstacle, task.plan.signature.decode()]
            hasher.update(json.dumps(part).encode())
    return hasher.hexdigest()


@pytest.mark.parametrize("level", DIGESTS)
def test_the_tasks_of_a_seed_are_what_they_always_were(level: str) -> None:
    assert digest_of(level) == DIGESTS[level]


def test_tasks_do_not_depend_on_the_hashing_of_text() -> None:
    command = [sys.executable, "-m", "tests.steptool_env.toolworld.test_tasks_digest", "lite"]
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["lite", DIGESTS["lite"]]


if __name__ == "__main__":
    for name in sys.argv[1:] or DIGESTS:
        sys.stdout.write(f"{name} {digest_of(name)}\n")
