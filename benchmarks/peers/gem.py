"""GEM (`gem-llm`): a text game, and its tool wrapper with a tool that reads a dictionary."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from time import perf_counter
from typing import Any

from benchmarks.harness.episodes import Played, Script
from benchmarks.peers import Contestants


@contextmanager
def gem(scripts: Sequence[Script]) -> Iterator[Contestants]:
    """Set up GEM's guessing game, and our scripts as tool calls under its `ToolEnvWrapper`."""
    from gem.envs.game_env.guess_the_number import GuessTheNumberEnv
    from gem.tools.base_tool import BaseTool
    from gem.tools.tool_env_wrapper import ToolEnvWrapper

    logging.getLogger().setLevel(logging.WARNING)  # GEM's import enables INFO, at which httpx logs every request
    answers = {action: '{"error": "", "response": "ok"}' for script in scripts for action in script.actions}

    class LookUp(BaseTool):  # type: ignore[misc]  # the package has no types
        tool_type = "look_up"

        def instruction_string(self) -> str:
            return "Answers what it knows."

        def execute_action(self, action: str) -> tuple[bool, bool, str, str]:
            return action in answers, False, answers.get(action, ""), action

    game = GuessTheNumberEnv(min_number=1, max_number=10**9, max_turns=10**9)
    guesses = map("\\boxed{{{}}}".format, count(1))
    tools = ToolEnvWrapper(game, [LookUp()], max_tool_uses=None)
    yield {
        "GEM guessing game": lambda: _play(game, scripts, lambda _: next(guesses)),
        "GEM tool wrapper over a dict": lambda: _play(tools, scripts, lambda action: action),
    }


def _play(env: Any, scripts: Sequence[Script], say: Callable[[str], str]) -> Played:
    steps, stepping, resetting = 0, 0.0, 0.0
    for number, script in enumerate(scripts):
        begin = perf_counter()
        env.reset(seed=number)
        begun = perf_counter()
        for action in script.actions:
            env.step(say(action))
        stepping += perf_counter() - begun
        resetting += begun - begin
        steps += len(script.actions)
    return Played(len(scripts), steps, stepping, resetting)
