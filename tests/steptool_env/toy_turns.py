"""The toy suite with three turns: the second offers what the first did, the third offers the echo as well.

`gymnasium.make("tests.steptool_env.toy_turns:Toys/Turns-v0")`.
"""

from dataclasses import replace
from typing import Any

import gymnasium as gym

from steptool_env.env import ToolEnv
from steptool_env.formats import make_format
from steptool_env.types import FINISH, Task, Turn
from tests.steptool_env.toys import COUNTER, ECHO, ToySuite, toy_config

ID = "tests.steptool_env.toy_turns:Toys/Turns-v0"
DONE = {"return_type": "give_answer", "final_answer": "done"}
"""Arguments of the `Finish` that ends a turn."""
FIRST = [COUNTER.function_name, FINISH]
LAST = [COUNTER.function_name, ECHO.function_name, FINISH]
"""Functions of the first two turns, and of the third."""


class TurnsSuite(ToySuite):
    name = "turns"

    def task(self, index: int) -> Task:
        turns = (Turn("And now?"), Turn("I have updated some more functions.", (ECHO,)))
        return replace(super().task(index), suite=self.name, tools=(COUNTER,), turns=turns)


def make_turns(format: str = "react", **changes: Any) -> ToolEnv:  # noqa: A002 - as the environments name it
    return ToolEnv(TurnsSuite(), toy_config(format=make_format(format), **changes))


if "Toys/Turns-v0" not in gym.registry:
    gym.register("Toys/Turns-v0", entry_point=make_turns)
