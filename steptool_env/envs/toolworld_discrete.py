"""`StepTool/ToolWorldDiscrete-v0`: ToolWorld with numbers for observations and actions."""

from __future__ import annotations

from typing import Any

from steptool_env.discrete.env import DiscreteToolEnv
from steptool_env.discrete.lexicon import toolworld_lexicon
from steptool_env.envs.toolworld import ToolWorldEnv


class ToolWorldDiscreteEnv(DiscreteToolEnv):
    """The numeric twin of `StepTool/ToolWorld-v0`: the same tasks, rewards and metrics.

    ## Description
    The calls that an agent could sensibly make are enumerated: every offered function with the values that the query
    states or earlier answers brought, and `Finish` with what the answers say. The agent chooses among them by features
    of what a text agent sees. Enumeration does part of the work (reading, spelling, remembering values), so a pass rate
    here is not comparable with one of the text form; compare agents of one form.

    ## Action Space
    `Discrete(64)`: the candidate in that slot. `action_masks()` tells which slots hold one. An empty slot is written as
    a text that is no call.

    ## Observation Space
    `Dict` of `candidates` (64 slots times features, flat), `context` (features of the episode) and `mask`. The names of
    the features are in `steptool_env.discrete.features`.

    ## Rewards
    Those of the text form.

    ## Episode End
    That of the text form. `context` has the share of the call budget that is left.

    ## Information
    That of the text form, and after a step `text` (the action as written) and `answer` (the tool's answer).

    ## Arguments
    Those of `toolworld_parts`; and `render_mode`, `"ansi"` or `None`.

    ## Version History
    * v0: first release
    """

    def __init__(self, render_mode: str | None = None, **arguments: Any) -> None:
        text_env = ToolWorldEnv(render_mode, **arguments)
        super().__init__(text_env, toolworld_lexicon(arguments.get("level", "lite")))
