"""The opening of an episode, as chat messages and as one text.

Two styles. `toolbench` is ToolBench's text, word for word, with one line per tool; `compact` gives every function one
line and fits a small context. In both the user message ends with the number of calls that the episode may make.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from steptool_env.episodes.finish import FINISH_FUNCTION
from steptool_env.episodes.observations import CALLS_LEFT
from steptool_env.errors import ConfigurationError
from steptool_env.formats import Format
from steptool_env.types import FINISH, GIVE_ANSWER, GIVE_UP, Task
from toolserver.calls.naming import parameter_name, standardize
from toolserver.catalog.api_schema import ApiSpec, Parameter
from toolserver.catalog.views import openai_function

STYLES = ("toolbench", "compact")

_DESCRIPTION_LENGTH = 512
_SYSTEM = """You are AutoGPT, you can use many tools(functions) to do the following task.
First I will give you the task description, and your task start.
At each step, you need to give your thought to analyze the status now and what to do next, \
with a function call to actually excute your step.{rule}
After the call, you will get the call result, and you are now in a new state.
Then you will analyze your status now, then decide what to do next...
After many (Thought-call) pairs, you finally perform the task, then you can give your finial answer.
Remember:\x20
1.the state change is irreversible, you can't go back to one of the former state, if you want to restart the task, \
say "I give up and restart".
2.All the thought is short, at most in 5 sentence.
3.You can do more then one trys, so if your plan is to continusly try some conditions, \
you can do one of the conditions per try.
Let's Begin!
Task description: You should use functions to help handle the real time user querys. Remember:
1.ALWAYS call "Finish" function at the end of the task. And the final answer should contain enough information to \
show to the user,If you can't handle the task, or you find that function calls always fail(the function is not valid \
now), use function Finish->give_up_and_restart.
2.Do not use origin tool names, use only subfunctions' names.
You have access of the following tools:
{tools}"""
_COMPACT = (
    f"Tools:\n{{tools}}\n{FINISH}(return_type: {GIVE_ANSWER} or {GIVE_UP}, final_answer?: str): ends the task\nWrite:\n"
)
_FINISH = orjson.dumps(FINISH_FUNCTION)  # read anew for every episode: cheaper than a deep copy
_SHORT_TYPES = {"NUMBER": "num", "INTEGER": "num", "BOOLEAN": "bool", "ARRAY": "list", "OBJECT": "dict"}


class Prompt(NamedTuple):
    """What a policy is given before its first action.

    Attributes:
        text: The whole prompt. It describes the functions, whatever the format.
        messages: System and user message for a chat model. In formats that chat models know by themselves the system
            message leaves out the functions, which go to the model as `tools`.
        functions: The offered functions, as OpenAI's API describes them, `Finish` last.
    """

    text: str
    messages: list[dict[str, str]]
    functions: list[dict[str, Any]]


def check_style(style: str) -> str:
    """`style`, if there is one of that name. Raises `ConfigurationError` otherwise."""
    if style not in STYLES:
        raise ConfigurationError(f"prompt={style!r}: no such style; there are {', '.join(STYLES)}")
    return style


def make_prompt(task: Task, call_format: Format, style: str, call_budget: int | None = None) -> Prompt:
    """The opening of an episode of `task` with `call_budget` calls; `None` leaves the budget out, as ToolBench does.

    No part of it is shared with another opening.
    """
    functions = [*map(openai_function, task.tools), orjson.loads(_FINISH)]
    left = "" if call_budget is None else f"{CALLS_LEFT}{call_budget}"
    if style == "compact":
        system, offer = _COMPACT.format(tools="\n".join(map(_signature, task.tools))), call_format.example
        user = f"{task.query}{left}"
        text = f"{system}{offer}\n{user}\n"
    else:
        system, offer = _toolbench_system(task, call_format.rule), call_format.offer(functions)
        user = f"\n{task.query}\nBegin!{left}\n"
        text = f"System: {system}{offer}\nUser: {user}\nAssistant:\n"
    told = system if call_format.native else system + offer
    return Prompt(text, [{"role": "system", "content": told}, {"role": "user", "content": user}], functions)


def _toolbench_system(task: Task, rule: str) -> str:
    descriptions = {standardize(spec.tool): spec.tool_description for spec in task.tools}
    lines = (
        f"{number}.{name}: {text[:_DESCRIPTION_LENGTH].replace(chr(10), '').strip() or 'None'}\n"
        for number, (name, text) in enumerate(descriptions.items(), 1)
    )
    return _SYSTEM.format(rule=rule, tools="".join(lines))


def _signature(spec: ApiSpec) -> str:
    """`name(city: str, days?: num): description`."""
    parameters = [_parameter(p, "") for p in spec.required] + [_parameter(p, "?") for p in spec.optional]
    description = f": {spec.description}" if spec.description else ""
    return f"{spec.function_name}({', '.join(parameters)}){description}"


def _parameter(parameter: Parameter, mark: str) -> str:
    kind = _SHORT_TYPES.get(parameter.type.upper(), "str")
    return f"{parameter_name(parameter.name)}{mark}: {kind}"
