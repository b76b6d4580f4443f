"""`StepTool/ToolWorld-v0`: generated tools and tasks with exact answers and exact step contributions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium.vector import AutoresetMode

from steptool_env.env import ToolEnv
from steptool_env.envs.parts import Parts, make_client, make_parts
from steptool_env.episodes.config import DEFAULT_CALL_BUDGET, DEFAULT_OBSERVATION_LENGTH, make_rules
from steptool_env.errors import ConfigurationError
from steptool_env.toolworld.suite import load_suite
from steptool_env.vector import ToolVectorEnv

_JUDGED = {"steptool": {"judge": "world"}, "final": {"judge": "world"}}
"""Reward kinds that ask a judge: here the one that knows."""


class ToolWorldEnv(ToolEnv):
    """Tasks in a world of generated APIs, verified without a judge.

    ## Description
    From one seed come data, the vendors' APIs on it, and tasks that need one to six steps of calls: look-ups,
    searches, comparisons, bookings. Distractors are offered beside the needed APIs. There is no end of tasks and no
    need for data, keys or a network. One tool call is one step. See `docs/toolworld.md`.

    ## Action Space
    `UnicodeText`: a call, written in the environment's `format`. Any other text is a step too, scored as a failed
    call with ToolBench's status code.

    ## Observation Space
    `UnicodeText`: after `reset` the whole prompt (offered functions, query); after a step the answer of the tool as
    JSON text, cut to `max_observation_length` characters with a visible marker, and the calls that remain.

    ## Rewards
    `progress` (default): the first success of every needed call and the right answer, worth 1 together at any depth.
    Others: `potential`, `steptool`, `final`. See `docs/toolworld.md` and `docs/evaluation.md`.

    ## Episode End
    Terminated by `Finish` (an answer, or giving up, which is right only for a task that cannot be solved) and by the
    last call of the budget: every observation says how many calls are left. Truncated when the tool server is out of
    reach (`info["transport_error"]`).

    ## Information
    `reset`: `task_id`, `suite`, `messages`, `functions`, `format`, `calls_left`. `step`: `status`, `provenance`,
    `reward_terms`, `calls_left`, `latency`; on the last step `step_rewards`, `outcome`, `trajectory`.

    ## Arguments
    See `toolworld_parts`; and `render_mode`, `"ansi"` or `None`.

    ## Version History
    * v0: first release
    """

    def __init__(self, render_mode: str | None = None, **arguments: Any) -> None:
        super().__init__(*make_parts(toolworld_parts, arguments), render_mode=render_mode)


class ToolWorldVectorEnv(ToolVectorEnv):
    """`ToolWorldEnv`, several episodes at once; what `gym.make_vec` gives."""

    def __init__(
        self,
        num_envs: int = 1,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        parts = make_parts(toolworld_parts, arguments)
        super().__init__(num_envs, *parts, autoreset_mode=autoreset_mode, render_mode=render_mode)


def toolworld_parts(
    split: str = "train",
    *,
    level: str = "lite",
    world_seed: int = 0,
    faults: str = "none",
    unsolvable: float = 0.05,
    depths: Mapping[str, float] | None = None,
    tools: int | None = None,
    server_url: str | None = None,
    reward: str = "progress",
    reward_options: Mapping[str, Any] | None = None,
    format: str = "react",  # noqa: A002 - the name that users know
    prompt: str | None = None,
    call_budget: int = DEFAULT_CALL_BUDGET,
    max_observation_length: int = DEFAULT_OBSERVATION_LENGTH,
) -> Parts:
    """The suite, the rules and the client of an environment.

    Args:
        split: `train`, `validation`, one of the six test splits named as StableToolBench's, `depth-1` to `depth-6`,
            or `unsolvable`.
        level: How large and wordy the world is: `lite`, `standard` or `full`.
        world_seed: Seed of the world. A server must have been started with the same (`toolserver serve --world`).
        faults: Injected faults: `none`, `mild` or `harsh`.
        unsolvable: Share of tasks of `train` that cannot be solved.
        depths: Depth (`"1"` to `"6"`) -> weight, in place of the level's, where the split does not fix the depth.
        tools: Number of vendors, in place of the level's. A server must have been started with the same number
            (environment variable `TOOLSERVER_WORLD_TOOLS`).
        server_url: A tool server that answers the calls, in place of the tools in this process. Its API key is taken
            from the environment variable `STEPTOOL_API_KEY`. Tasks and rewards stay in this process.
        reward: `progress`, `potential`, `steptool`, `final`, or another kind by name or `module:factory`.
        reward_options: Options of the reward kind. `steptool` and `final` ask the judge `world`, unless told otherwise.
        format: How calls are written: `react`, `openai`, `hermes` or `llama3`.
        prompt: `toolbench` (ToolBench's text) or `compact`; by default `compact` for `lite`, else `toolbench`.
        call_budget: Steps of an episode at most; `Finish` counts.
        max_observation_length: Characters of an answer that are shown.

    Raises:
        ConfigurationError: An argument is wrong; the message says what is valid.
    """
    style = prompt or ("compact" if level == "lite" else "toolbench")
    options = {**_JUDGED.get(reward, {}), **(reward_options or {})}
    rules = make_rules(reward, options, format, style, call_budget, max_observation_length)
    suite = load_suite(split, level, world_seed, faults, unsolvable, _depths(depths), tools)
    return Parts(suite, rules, make_client(server_url, suite))


def _depths(weights: Mapping[str, float] | None) -> tuple[tuple[int, float], ...]:
    """The weights with numbers for keys, which JSON writes as text."""
    try:
        return tuple((int(depth), float(weight)) for depth, weight in (weights or {}).items())
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(f'depths={weights!r}: must be depth -> weight, e.g. {{"1": 1, "2": 2}}') from error
