"""The opening prompt: ToolBench's text where it is asked for, everything offered in every style and format."""

import json
from pathlib import Path

import gymnasium as gym
import pytest

import steptool_env  # noqa: F401 - registers the environments
from steptool_env.episodes.finish import FINISH_FUNCTION
from steptool_env.episodes.prompts import STYLES, describe_functions, make_prompt
from steptool_env.formats import FORMATS, make_format
from steptool_env.types import Task
from tests.steptool_env.toys import ToySuite
from toolserver.catalog.api_schema import ApiSpec, Parameter
from toolserver.catalog.views import openai_function
from toolserver.stabletoolbench import read_answer

TASK = ToySuite().task(4)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", FORMATS.names())
def test_every_prompt_has_the_query_and_every_function(style: str, name: str) -> None:
    start = make_prompt(TASK, make_format(name), style, 9)
    functions = [spec.function_name for spec in TASK.tools]
    assert TASK.query in start.text
    assert TASK.query in start.messages[1]["content"]
    assert all(text.count("Calls left: 9\n") == 1 for text in (start.text, start.messages[1]["content"] + "\n"))
    assert all(name in start.text for name in (*functions, "Finish", "give_up_and_restart", "final_answer"))
    assert [function["name"] for function in start.functions] == [*functions, "Finish"]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", FORMATS.names())
def test_messages_describe_the_functions_unless_the_format_is_native(style: str, name: str) -> None:
    call_format = make_format(name)
    system, user = make_prompt(TASK, call_format, style, 9).messages
    functions = [spec.function_name for spec in TASK.tools]
    assert (system["role"], user["role"]) == ("system", "user")
    assert [function in system["content"] for function in functions] == [not call_format.native] * len(functions)
    assert not any(function in user["content"] for function in functions)
    assert "Finish" in system["content"]
    assert not system["content"].endswith(":\n")
    if style == "compact" and call_format.native:
        assert system["content"] == "Call one function at a time. Finish ends the task."


def test_the_system_text_is_toolbenchs(stabletoolbench_data: Path) -> None:
    file = stabletoolbench_data / "toolbench_answer_examples/answer/virtual_chatgpt_cot/G1_instruction/1073_CoT@1.json"
    answer = read_answer(file)
    system, user = json.loads(file.read_text())["answer_generation"]["train_messages"][-1][:2]
    apis = [f["name"].removesuffix("_for_keyword_analysis") for f in answer.functions[:-1]]
    description = system["content"].rsplit("keyword_analysis: ", 1)[1].strip()
    tools = tuple(ApiSpec("Data", "Keyword Analysis", api, tool_description=description) for api in apis)
    task = Task("1073", "G1_instruction", answer.query, tools)
    start = make_prompt(task, make_format("openai"), "toolbench")
    assert start.messages == [system, user]
    native = make_prompt(task, make_format("openai"), "toolbench", 9)
    assert native.messages == [system, {**user, "content": user["content"] + "Calls left: 9\n"}]
    assert start.functions[-1] == answer.functions[-1] == FINISH_FUNCTION


def test_react_tells_the_format_and_lists_functions_as_toolbench_does() -> None:
    text = make_prompt(TASK, make_format("react"), "toolbench", 9).text
    assert (
        "to actually excute your step. Your output should follow this format:\nThought:\nAction\nAction Input:\n"
        in text
    )
    functions = [*map(openai_function, TASK.tools), FINISH_FUNCTION]
    assert f"\nSpecifically, you have access to the following APIs: {functions}\nUser: \nCount to 4.\nBegin!\n" in text
    assert text.startswith("System: You are AutoGPT")
    assert text.endswith("\nBegin!\nCalls left: 9\n\nAssistant:\n")
    assert "Calls left" not in make_prompt(TASK, make_format("react"), "toolbench").text


def test_the_compact_prompt_is_one_line_per_function() -> None:
    spec = ApiSpec(
        "Food", "Kitchen", "Find recipe", "Finds one.", (Parameter("id", "NUMBER"),), (Parameter("Vegan", "BOOLEAN"),)
    )
    text = make_prompt(Task("1", "s", "Soup?", (spec,)), make_format("llama3"), "compact", 4).text
    assert text == (
        "Tools:\n"
        "find_recipe_for_kitchen(is_id: num, vegan?: bool): Finds one.\n"
        "Finish(return_type: give_answer or give_up_and_restart, final_answer?: str): ends the task\n"
        'Write:\n{"name": "function", "parameters": {"argument": "value"}}\n'
        "Soup?\nCalls left: 4\n"
    )


def test_what_is_given_away_is_not_shared() -> None:
    first = make_prompt(TASK, make_format("react"), "toolbench", 9)
    first.functions[-1]["name"] = "changed"
    first.messages[0]["content"] = "changed"
    second = make_prompt(TASK, make_format("react"), "toolbench", 9)
    assert second.functions[-1]["name"] == FINISH_FUNCTION["name"] == "Finish"
    assert second.messages[0]["content"] != "changed"


def test_functions_are_described_from_their_schemas_as_in_the_compact_prompt() -> None:
    """A policy that was trained on these prompts reads the tools of a chat request in the same words."""
    call_format = make_format("react")
    env = gym.make("StepTool/ToolWorld-v0", prompt="compact")
    for task in range(40):
        _, info = env.reset(seed=0, options={"task": task})
        system = info["messages"][0]["content"]
        assert describe_functions(info["functions"], call_format, "compact") == system
        without = describe_functions(info["functions"][:-1], call_format, "compact")
        assert "Finish" not in without
        assert without == "\n".join(line for line in system.splitlines() if not line.startswith("Finish("))
    env.close()


def test_functions_of_others_are_described_whatever_their_schemas_hold() -> None:
    call_format = make_format("hermes")
    functions = [{"name": "f"}, {"name": "g", "parameters": {"properties": {"a": {"anyOf": []}, "b": True}}}]
    assert "f()\ng(a?: str, b?: str)\nWrite:" in describe_functions(functions, call_format, "compact")
    assert '"name": "g"' in describe_functions(functions, call_format, "toolbench")
