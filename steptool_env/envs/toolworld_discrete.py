"""`StepTool/ToolWorldDiscrete-v0`: ToolWorld with numeric observations and actions."""

from collections import defaultdict
from functools import cache
from typing import Any

from gymnasium.vector import AutoresetMode

from steptool_env.discrete.env import DiscreteToolEnv
from steptool_env.discrete.vector import DiscreteToolVectorEnv
from steptool_env.discrete.words import Lexicon, split_words, words_of
from steptool_env.envs.signatures import has_arguments_of
from steptool_env.envs.toolworld import ToolWorldEnv
from toolserver.world.versions import make_world


class ToolWorldDiscreteEnv(DiscreteToolEnv):
    """The numeric form of `StepTool/ToolWorld-v0`: the same tasks, rewards and metrics.

    ## Description
    The sensible calls are enumerated: every offered function with values from the query or from earlier responses, and
    `Finish` with answers composed of the responses. The agent chooses among these candidates by features of the text
    that a text agent sees. Enumeration does part of the work (reading, spelling, remembering values), so pass rates of
    the two forms are not comparable.

    ## Action Space
    `Discrete(64)`: the candidate in that slot. `action_masks()` gives the occupied slots. An empty slot is sent as a
    text that is not a call.

    ## Observation Space
    `Dict` of `candidates` (64 slots times features, flat), `context` (features of the episode) and `mask`. The names of
    the features are in `steptool_env.discrete.features`.

    ## Rewards
    Those of the text form.

    ## Episode End
    That of the text form. `context` includes the remaining share of the call budget.

    ## Information
    That of the text form, and after a step `text` (the action as text) and `answer` (the text observation).

    ## Version History
    * v0: first release

    Arguments are those of `ToolWorldEnv`.
    """

    @has_arguments_of(ToolWorldEnv)
    def __init__(self, *, level: str = "lite", **arguments: Any) -> None:
        super().__init__(ToolWorldEnv(level=level, **arguments), toolworld_lexicon(level))


class ToolWorldDiscreteVectorEnv(DiscreteToolVectorEnv):
    """Several episodes of `ToolWorldDiscreteEnv` at once, as `gym.make_vec` returns them.

    Args:
        num_envs: Number of parallel episodes.
        autoreset_mode: `NextStep`, `SameStep` or `Disabled`; see `gymnasium.vector.AutoresetMode`.

    All other arguments are those of `ToolWorldEnv`.
    """

    @has_arguments_of(ToolWorldEnv)
    def __init__(
        self,
        *,
        num_envs: int = 1,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        level: str = "lite",
        **arguments: Any,
    ) -> None:
        text_env = ToolWorldEnv(level=level, **arguments)
        super().__init__(num_envs, text_env, toolworld_lexicon(level), autoreset_mode)


@cache
def toolworld_lexicon(level: str) -> Lexicon:
    """Synonyms among the names of parameters and fields of a level, the same for all of its tasks.

    Raises:
        ConfigurationError: (of `toolserver.errors`) The level is unknown.
    """
    meanings: defaultdict[str, set[str]] = defaultdict(set)
    for operation in make_world(level=level).operations.values():
        named = [(name, slot.label, slot.aka) for name, slot in operation.inputs.items()]
        named += [(name, output.label, output.aka) for name, output in operation.outputs.items()]
        for name, label, aka in named:
            for each in (name, *aka):
                meanings["_".join(split_words(each))] |= words_of(name) | words_of(label)
    return {name: frozenset(words) for name, words in meanings.items()}
