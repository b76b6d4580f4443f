"""Agents by name."""

from typing import Any

from agents.base import Agent
from steptool_env.registry import Registry

AGENTS: Registry[Agent] = Registry(
    "agent",
    {
        "greedy-docs": "agents.baselines.heuristics:GreedyDocsAgent",
        "no-tools": "agents.baselines.heuristics:NoToolsAgent",
        "noisy-oracle": "agents.baselines.demonstrations:NoisyOracleAgent",
        "openai": "agents.chat.completions:OpenAIAgent",
        "oracle": "agents.baselines.oracle:OracleAgent",
        "policy": "agents.rollout.policy_agent:PolicyAgent",
        "random": "agents.baselines.random:RandomAgent",
        "random-candidates": "agents.sb3.agent:random_candidates",
        "replay": "agents.baselines.replay:ReplayAgent.from_path",
        "sb3": "agents.sb3.train:load_agent",
    },
)


def make_agent(name: str, *, run_seed: int | None = None, **options: Any) -> Agent:
    """Return the agent `name`: a built-in name, with its argument after a colon, or `module:factory`.

    `make_agent("openai:gpt-4o", base_url=...)` passes `"gpt-4o"` and the options to the factory of `openai`;
    `make_agent("my_package.my_module:MyAgent")` imports that module and passes the options alone.

    Args:
        name: Name of the agent.
        run_seed: Seed of the run: default of the option `seed`, for a factory that has one.
        options: Arguments of the factory.

    Raises:
        ConfigurationError: There is no such agent, or it takes other options; the message lists what is valid.
    """
    known, colon, argument = name.partition(":")
    place, given = (known, (argument,) if colon else ()) if known in AGENTS.names() else (name, ())
    if run_seed is not None and "seed" not in options and AGENTS.takes(place, "seed"):
        options["seed"] = run_seed
    return AGENTS.make(place, *given, **options)
