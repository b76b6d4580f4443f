"""The prompt of an episode, as chat messages and as one text.

There are two styles. `toolbench` is ToolBench's text, word for word, with one line per tool; `compact` has one line per
function and fits a small context. In both the user message ends with the call budget.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from steptool_env.episodes.finish import FINISH_FUNCTION
from steptool_env.episodes.observations import CALLS_LEFT
from steptool_env.errors import ConfigurationError
from steptool_env.formats import Format, FunctionSchema
from steptool_env.types import FINISH, GIVE_ANSWER, GIVE_UP, Task, Turn
from toolserver.calls.naming import parameter_name, standardize
from toolserver.catalog.api_schema import ApiSpec, FunctionSpec, Parameter
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
_COMPACT_FINISH = f"\n{FINISH}(return_type: {GIVE_ANSWER} or {GIVE_UP}, final_answer?: str): ends the task"
_COMPACT = f"Tools:\n{{tools}}{_COMPACT_FINISH}\nWrite:\n"
_COMPACT_NATIVE = f"Call one function at a time. {FINISH} ends the task."
_COMPACT_TURNS = f"\n{FINISH} ends your turn; the user may write again."
_TURNS = f"""
The user may write several messages, one after another. Call "{FINISH}" with give_answer when you have done what the \
latest message asks for as far as you can, or when the functions or the facts that it needs are missing: its \
observation has the next message of the user, if there is one."""
USER = "\nUser: "
"""Start of the user's message in the observation of a `Finish` that ends a turn."""
_FINISH = orjson.dumps(FINISH_FUNCTION)  # parsed for every episode, which is cheaper than a deep copy
_OFFERED = re.compile(r'^This is the subfunction for tool ".*?", you can use this tool\.')
_DESCRIBED = re.compile(r'^The description of this function is: "(.*)"$', re.DOTALL)
_SHORT_TYPES = {"NUMBER": "num", "INTEGER": "num", "BOOLEAN": "bool", "ARRAY": "list", "OBJECT": "dict"}


class Prompt(NamedTuple):
    """Input of a policy before its first action.

    Attributes:
        text: The prompt as one text. It describes the functions in every format.
        messages: System and user message for a chat model. In native formats they do not describe the functions, which
            the model receives as `tools`.
        functions: Offered functions in OpenAI's schema, `Finish` last.
    """

    text: str
    messages: list[dict[str, str]]
    functions: list[dict[str, Any]]


def check_style(style: str) -> str:
    """Return `style`. Raise `ConfigurationError` if it is unknown."""
    if style not in STYLES:
        raise ConfigurationError(f"prompt={style!r}: must be one of {', '.join(STYLES)}")
    return style


def make_prompt(task: Task, call_format: Format, style: str, call_budget: int | None = None) -> Prompt:
    """Return the prompt of an episode of `task`. Prompts share no mutable objects.

    Args:
        task: Task of the episode.
        call_format: Call format.
        style: One of `STYLES`.
        call_budget: Number of calls that the prompt states; `None` omits it, as ToolBench does.
    """
    functions = offered_functions(task)
    left = "" if call_budget is None else f"{CALLS_LEFT}{call_budget}"
    if style == "compact":
        user = f"{task.query}{left}"
        turns = _COMPACT_TURNS if task.turns else ""
        described = _COMPACT.format(tools="\n".join(map(_signature, task.tools))) + call_format.example
        described = f"{described}{turns}"
        system = f"{_COMPACT_NATIVE}{turns}" if call_format.native else described
        text = f"{described}\n{user}\n"
    else:
        user = f"\n{task.query}\nBegin!{left}\n"
        system = _toolbench_system(task, call_format.rule) + (_TURNS if task.turns else "")
        described = system + call_format.offer(functions)
        system = system if call_format.native else described
        text = f"System: {described}\nUser: {user}\nAssistant:\n"
    return Prompt(text, [{"role": "system", "content": system}, {"role": "user", "content": user}], functions)


def stated_budget(settings: Mapping[str, Any]) -> int | None:
    """Return the number of calls that the prompt of a recorded episode states; `None` where it states none.

    `settings` is the metadata of its trajectory. In the style `toolbench` of observations no prompt states a number.
    """
    budget: int | None = settings.get("call_budget")
    return None if settings.get("observation") == "toolbench" else budget


def offered_functions(task: Task, turn: int = 0) -> list[dict[str, Any]]:
    """Return the functions that are offered in a turn (0-based) in OpenAI's schema, `Finish` last."""
    added = [spec for each in task.turns[:turn] for spec in each.tools]
    return [*map(openai_function, (*task.tools, *added)), orjson.loads(_FINISH)]


def turn_text(turn: Turn, call_format: Format, style: str) -> str:
    """Return the text that begins a later turn: the user's message, and the functions that are new."""
    text = f"{USER}{turn.message}"
    if not turn.tools:
        return text
    if style == "compact":
        return f"{text}\n" + "\n".join(map(_signature, turn.tools))
    return f"{text}\n{call_format.offer([openai_function(spec) for spec in turn.tools]).strip()}"


def describe_functions(functions: Sequence[FunctionSchema], call_format: Format, style: str) -> str:
    """Return a system text that describes functions to a model that does not get them in another way.

    Args:
        functions: Functions in OpenAI's schema.
        call_format: Call format.
        style: One of `STYLES`; `compact` gives the text of the prompts of that style.
    """
    if style != "compact":
        return f"{call_format.offer(functions).strip()}\nWrite a call of a function as:\n{call_format.example}"
    lines = [_schema_signature(function) for function in functions if function["name"] != FINISH]
    text = _COMPACT.format(tools="\n".join(lines)) + call_format.example
    return text if len(lines) < len(functions) else text.replace(_COMPACT_FINISH, "")


def _schema_signature(function: FunctionSchema) -> str:
    """Signature of a function in OpenAI's schema, see `_signature`."""
    schema = function.get("parameters") or {}
    required = set(schema.get("required", ()))
    shown = [
        f"{name}{'' if name in required else '?'}: {_SHORT_TYPES.get(_type_name(entry), 'str')}"
        for name, entry in schema.get("properties", {}).items()
    ]
    text = _OFFERED.sub("", str(function.get("description") or ""))
    described = _DESCRIBED.match(text)
    text = described[1] if described else text
    return f"{function['name']}({', '.join(shown)}){f': {text}' if text else ''}"


def _type_name(entry: Any) -> str:
    return str(entry.get("type", "")).upper() if isinstance(entry, Mapping) else ""


def _toolbench_system(task: Task, rule: str) -> str:
    descriptions = {standardize(spec.tool): spec.tool_description for spec in task.tools}
    lines = (
        f"{number}.{name}: {text[:_DESCRIPTION_LENGTH].replace(chr(10), '').strip() or 'None'}\n"
        for number, (name, text) in enumerate(descriptions.items(), 1)
    )
    return _SYSTEM.format(rule=rule, tools="".join(lines))


def _signature(spec: ApiSpec) -> str:
    """`name(city: str, days?: num): description`."""
    name = str if isinstance(spec, FunctionSpec) else parameter_name
    parameters = [_parameter(name(p.name), p, "") for p in spec.required]
    parameters += [_parameter(name(p.name), p, "?") for p in spec.optional]
    description = f": {spec.description}" if spec.description else ""
    return f"{spec.function_name}({', '.join(parameters)}){description}"


def _parameter(name: str, parameter: Parameter, mark: str) -> str:
    return f"{name}{mark}: {_SHORT_TYPES.get(parameter.type.upper(), 'str')}"
