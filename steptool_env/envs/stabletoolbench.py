"""`StepTool/StableToolBench-v0`: recorded tools, judged answers."""

from collections.abc import Mapping
from typing import Any

from steptool_env.client import make_client
from steptool_env.env import ToolEnv
from steptool_env.envs.vector_of import VectorOf
from steptool_env.episodes.config import DEFAULT_CALL_BUDGET, DEFAULT_OBSERVATION_LENGTH, make_config
from steptool_env.stabletoolbench.suite import load_suite


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
    `reset`: `task_id`, `suite`, `messages`, `functions`, `tools`, `format`, `calls_left`. `step`: `status`,
    `provenance`, `reward_terms`, `calls_left`, `latency`; on the last step `step_rewards`, `outcome`, `trajectory`.

    ## Version History
    * v0: first release

    Args:
        suite: Query set: `G1_instruction`, `G1_category`, `G1_tool`, `G2_instruction`, `G2_category` or
            `G3_instruction`; or `all`, those of the six that are there, one after the other.
        data: Folder with `solvable_queries/test_instruction/<suite>.json` and `server/`, which holds StableToolBench's
            `tools/` and `tool_response_cache/`. The sample is used without `data`, `queries` and `cache`.
        queries: Query file, folder of query files, or `solvable_queries/`, which has them in `test_instruction/`;
            instead of those in `data`.
        cache: Directory written by `toolserver import`, instead of the recordings in `data`.
        miss: Handling of a call that was not recorded, in process: `strict` (an error) or `synthetic`.
        faults: Injected faults: `none`, `mild` or `harsh`.
        tools: Offered functions: `given`, those of the query, or `retrieved:K`, the first K of the whole catalog that
            a search finds for it; the benchmark's open-domain setting.
        retriever: Search of `tools=retrieved:K`: `bm25`, or a sentence-transformers model by name or folder.
        server_url: Tool server that answers the calls, instead of the tools in this process. The API key is read from
            the environment variable `STEPTOOL_API_KEY`.
        reward: `steptool`, `final`, or `module:factory`.
        reward_options: Options of the reward kind, such as `{"judge": "llm", "model": "..."}`.
        format: Call format: `react`, `openai`, `hermes`, `llama3`, or `module:factory`.
        prompt: `toolbench` (ToolBench's text) or `compact`.
        call_budget: Maximum number of steps of an episode, including `Finish`.
        max_observation_length: Maximum length of a response in an observation, in characters.
        observation: `budget` (how much was cut, and the remaining calls) or `toolbench` (`...` where a response is
            cut, and no line of the remaining calls, neither in the prompt).
        render_mode: `"ansi"`, `"rgb_array"` (needs Pillow) or `None`.

    Raises:
        ConfigurationError: An argument is invalid; the message lists valid values.
    """

    def __init__(
        self,
        *,
        suite: str = "G1_instruction",
        data: str | None = None,
        queries: str | None = None,
        cache: str | None = None,
        miss: str = "strict",
        faults: str = "none",
        tools: str = "given",
        retriever: str = "bm25",
        server_url: str | None = None,
        reward: str = "steptool",
        reward_options: Mapping[str, Any] | None = None,
        format: str = "react",  # noqa: A002 - public argument name
        prompt: str = "toolbench",
        call_budget: int = DEFAULT_CALL_BUDGET,
        max_observation_length: int = DEFAULT_OBSERVATION_LENGTH,
        observation: str = "budget",
        render_mode: str | None = None,
    ) -> None:
        tasks = load_suite(suite, data, queries, cache, miss, faults, tools, retriever)
        config = make_config(reward, reward_options, format, prompt, call_budget, max_observation_length, observation)
        super().__init__(tasks, config, make_client(server_url, tasks), render_mode)


class StableToolBenchVectorEnv(VectorOf, env=StableToolBenchEnv):
    """Several episodes of `StableToolBenchEnv` at once; its arguments, and those of `VectorOf`."""
