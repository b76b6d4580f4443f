"""Episodes as conversations, for programs that train chat models: OpenAI's fine-tuning lines, and ShareGPT's."""

from typing import Any

from agents.chat.completions import FunctionNames, offered_tools
from steptool_env.episodes.prompts import USER, make_prompt, offered_functions, stated_budget
from steptool_env.formats import Format, make_format
from steptool_env.types import Step, Trajectory


def openai_record(trajectory: Trajectory) -> dict[str, Any]:
    """Return an episode as one line of OpenAI's chat fine-tuning files: `messages` and `tools`.

    Names that OpenAI's API refuses are aliases, as the agent `openai` sends them. A text without a call of a function
    is a message without `tool_calls`, and its observation one of the user, as in an episode of that agent. `tools` has
    the functions of all turns.
    """
    prompt = _prompt(trajectory, make_format("openai"))
    names, tools = offered_tools(offered_functions(trajectory.task, len(trajectory.task.turns)))
    messages: list[dict[str, Any]] = list(prompt.messages)
    for number, step in enumerate(trajectory.steps, 1):
        messages += _openai_messages(step, names, f"call-{number}", last=step is trajectory.steps[-1])
    return {"messages": messages, "tools": tools, "parallel_tool_calls": False}


def sharegpt_record(trajectory: Trajectory) -> dict[str, Any]:
    """Return an episode as a conversation of ShareGPT's layout, with roles `system`, `human`, `gpt`, `observation`.

    The system text describes the functions and the actions are in the `react` format, as in ToolLLaMA's training data.
    """
    react = make_format("react")
    system, user = _prompt(trajectory, react).messages
    turns = [{"from": "system", "value": system["content"]}, {"from": "human", "value": user["content"]}]
    same = trajectory.metadata.get("format") == react.name
    for step in trajectory.steps:
        action = step.action
        keeps = same or not action.name
        text = action.text if keeps else react.render(action.name, action.arguments, action.thought)
        turns.append({"from": "gpt", "value": text})
        if step is not trajectory.steps[-1]:
            turns.append({"from": "observation", "value": step.observation})
    return {"id": f"{trajectory.task.suite}/{trajectory.task.id}", "conversations": turns}


def _prompt(trajectory: Trajectory, call_format: Format) -> Any:
    """Return the prompt as the episode had it, in another call format."""
    settings = trajectory.metadata
    return make_prompt(trajectory.task, call_format, settings.get("prompt", "toolbench"), stated_budget(settings))


def _openai_messages(step: Step, names: FunctionNames, call_id: str, *, last: bool) -> list[dict[str, Any]]:
    action = step.action
    if not action.name:
        said: dict[str, Any] = {"role": "assistant", "content": action.text}
        heard: dict[str, Any] = {"role": "user", "content": step.observation}
    else:
        function = {"name": names.alias(action.name), "arguments": action.arguments or "{}"}
        call = {"id": call_id, "type": "function", "function": function}
        said = {"role": "assistant", "content": action.thought or None, "tool_calls": [call]}
        heard = {"role": "tool", "tool_call_id": call_id, "content": step.observation}
        if step.ends_turn and not last:
            heard["content"], _, message = step.observation.partition(USER)
            return [said, heard, {"role": "user", "content": message}]
    return [said] if last else [said, heard]
