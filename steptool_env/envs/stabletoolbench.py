"""`StepTool/StableToolBench-v0`: recorded tools, judged answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium.vector import AutoresetMode

from steptool_env.env import ToolEnv
from steptool_env.envs.parts import Parts, make_client, make_parts
from steptool_env.episodes.config import DEFAULT_CALL_BUDGET, DEFAULT_OBSERVATION_LENGTH, make_rules
from steptool_env.suites.stabletoolbench import load_suite
from steptool_env.vector import ToolVectorEnv


class StableToolBenchEnv(ToolEnv):
    """StableToolBench's solvable queries, answered from recorded calls.

    ## Description
    A user asks for something that needs several calls of web APIs. The agent calls the APIs that are offered with the
    query and ends with `Finish`. Answers come from StableToolBench's recordings, so that an episode is reproducible
    and needs neither network nor keys. One tool call is one step.

    Without `data`, `queries` and `cache` a sample is played that ships with the package: 48 queries, whose answers are
    made by this project. Its sets are called `stabletoolbench-sample/<set>`, in `info["suite"]` as in every report.

    ## Action Space
    `UnicodeText`: a call, written in the environment's `format`. Any other text is a step too, scored as a failed
    call with ToolBench's status code.

    ## Observation Space
    `UnicodeText`: after `reset` the whole prompt (system text, offered functions, query); after a step the answer of
    the tool as JSON text, cut to `max_observation_length` characters with a visible marker, and the calls that remain.

    ## Rewards
    `steptool` (default): every call earns half a point for success and half for its contribution to the final answer,
    the last step whether the task is solved. What is known only in hindsight is in `info["step_rewards"]` of the last
    step. `final`: whether the task is solved, at the last step. See `docs/evaluation.md`.

    ## Episode End
    Terminated by `Finish` (an answer, or giving up) and by the last call of the budget: every observation says how
    many calls are left. Truncated when the tool server is out of reach (`info["transport_error"]`).

    ## Information
    `reset`: `task_id`, `suite`, `messages`, `functions`, `format`, `calls_left`. `step`: `status`, `provenance`,
    `reward_terms`, `calls_left`, `latency`; on the last step `step_rewards`, `outcome`, `trajectory`.

    ## Arguments
    See `stabletoolbench_parts`; and `render_mode`, `"ansi"` or `None`.

    ## Version History
    * v0: first release
    """

    def __init__(self, render_mode: str | None = None, **arguments: Any) -> None:
        super().__init__(*make_parts(stabletoolbench_parts, arguments), render_mode=render_mode)


class StableToolBenchVectorEnv(ToolVectorEnv):
    """`StableToolBenchEnv`, several episodes at once; what `gym.make_vec` gives."""

    def __init__(
        self,
        num_envs: int = 1,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        parts = make_parts(stabletoolbench_parts, arguments)
        super().__init__(num_envs, *parts, autoreset_mode=autoreset_mode, render_mode=render_mode)


def stabletoolbench_parts(
    suite: str = "G1_instruction",
    *,
    data: str | None = None,
    queries: str | None = None,
    cache: str | None = None,
    miss: str = "strict",
    faults: str = "none",
    server_url: str | None = None,
    reward: str = "steptool",
    reward_options: Mapping[str, Any] | None = None,
    format: str = "react",  # noqa: A002 - the name that users know
    prompt: str = "toolbench",
    call_budget: int = DEFAULT_CALL_BUDGET,
    max_observation_length: int = DEFAULT_OBSERVATION_LENGTH,
) -> Parts:
    """The suite, the rules and the client of an environment.

    Args:
        suite: The query set: `G1_instruction`, `G1_category`, `G1_tool`, `G2_instruction`, `G2_category` or
            `G3_instruction`.
        data: A folder with `solvable_queries/test_instruction/<suite>.json` and `server/`, StableToolBench's `tools/`
            and `tool_response_cache/`. Without it, `queries` and `cache` the sample is played.
        queries: A query file or a folder of them, in place of those in `data`.
        cache: A directory made by `toolserver import`, in place of the recordings in `data`.
        miss: What answers a call that was not recorded, in process: `strict` (nothing) or `synthetic`.
        faults: Injected faults: `none`, `mild` or `harsh`.
        server_url: A tool server that answers the calls, in place of the tools in this process. Its API key is taken
            from the environment variable `STEPTOOL_API_KEY`.
        reward: `steptool`, `final`, or another kind by name or `module:factory`.
        reward_options: Options of the reward kind, such as `{"judge": "llm", "model": "..."}`.
        format: How calls are written: `react`, `openai`, `hermes` or `llama3`.
        prompt: `toolbench` (ToolBench's text) or `compact`.
        call_budget: Steps of an episode at most; `Finish` counts.
        max_observation_length: Characters of an answer that are shown.

    Raises:
        ConfigurationError: An argument is wrong; the message says what is valid.
    """
    rules = make_rules(reward, reward_options, format, prompt, call_budget, max_observation_length)
    tasks = load_suite(suite, data, queries, cache, miss, faults)
    return Parts(tasks, rules, make_client(server_url, tasks))
