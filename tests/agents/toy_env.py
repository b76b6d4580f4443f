"""The toy suite of the environment's tests, under an id of its own, for everything that goes through `gym.make`."""

from typing import Any

import gymnasium as gym

from steptool_env.client import ToolClient
from steptool_env.env import ToolEnv
from tests.steptool_env.toys import ToySuite, toy_config

TOYS = "Toys/Count-v0"


def make_toys(
    *,
    format: str = "react",  # noqa: A002 - the environments' own name for it
    client: ToolClient | None = None,
    **rules: Any,
) -> ToolEnv:
    from steptool_env.formats import make_format

    return ToolEnv(ToySuite(), toy_config(format=make_format(format), **rules), client)


if TOYS not in gym.registry:
    gym.register(TOYS, entry_point=make_toys)
