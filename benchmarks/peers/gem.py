"""GEM (`gem-llm`): a text game, and its tool wrapper with a tool that reads a dictionary."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from benchmarks.harness.episodes import Script, play_with
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

    def start(env: Any) -> Callable[[Script], object]:
        return lambda script: env.reset(seed=script.seed % 2**32)  # the seeds that NumPy takes

    yield {
        "GEM guessing game": lambda: play_with(start(game), lambda _: game.step(next(guesses)), scripts),
        "GEM tool wrapper over a dict": lambda: play_with(start(tools), tools.step, scripts),
    }
