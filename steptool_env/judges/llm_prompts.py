"""Prompts and function schemas of `LlmJudge`.

The step judge follows StepTool's annotation: its three criteria, its function and the function's fields. The wording
is this project's (StepTool's has no licence); `LlmJudge(template=...)` reads another one from a file. The answer judge
and the comparison of two answers are ToolBench's `tooleval`, word for word (OpenBMB/ToolBench, Apache-2.0), used for
the published pass and win rates. Its evaluators ask for the reason, too, which is not read.
"""

# ruff: noqa: E501 - lines as in the original

from typing import Any

STEPS = """Judge how an assistant solved a user's query with tools.

Query:
{query}

Intermediate Steps:
{mid_steps}

Final Answer:
{final_answer}

Judge the whole course by three criteria:
1. Successful Tool Calling: for every intermediate step, 1 if its tool was called successfully, else 0.
2. Contribution to Final Answer: for every intermediate step, how much it contributed to the final answer, from 0 (nothing) to 5 (decisive).
3. Final Answer Status: 'Solved', 'Unsure' or 'Unsolved'.

Give one entry per intermediate step, in their order. Answer by calling `evaluate_process_reward`."""

CHECK_ANSWER = """Giving the query and answer, you need give `answer_status` of the answer by following rules:
1. If the answer is a sorry message or not a positive/straight response for the given query, return "Unsolved".
2. If the answer is a positive/straight response for the given query, you have to further check.
2.1 If the answer is not sufficient to determine whether the solve the query or not, return "Unsure".
2.2 If you are confident that the answer is sufficient to determine whether the solve the query or not, return "Solved" or "Unsolved".

Query:
{query}
Answer:
{answer}

Now give your reason in "content" and `answer_status` of JSON to `check_answer_status`."""

PARSE_ANSWER = """Giving the query and the correspond execution detail of an answer, you need give `answer_status` of the answer by following rules:
1. If all 'tool' nodes' message indicate that there are errors happened, return "Unsolved"
2. If you find the information in the "final_answer" is not true/valid according to the messages in 'tool' nodes, return "Unsolved"
3. If you are unable to verify the authenticity and validity of the information, return "Unsure"
4. If there are 'tool' node in the chain contains successful func calling and those calling indeed solve the query, return "Solved"

Query:
{query}
Answer:
{answer}

Now you are requested to give reason in "content" and `answer_status` of JSON to `parse_answer_status`."""

SELECT_BETTER = """Query:
{query}

Answer_0:
{answer_0}

Answer_1:
{answer_1}

Given above query and answers in JSON format, you must follow the rules to select the relatively better answer and give the index of the answer **(0 for Answer_0, 1 for Answer_1)**:
1. Compare the value of "final_answer" in following aspects:
- Informative: whether it contains all necessary information to reply to the query.
- Factuality: whether it accurately describes what has been done, and what failed in the end.
- Reasoning: If answer does not solve the query, whether gives a detailed and accurate reason for failure.
2. If you cannot determine yet, compare the value of "answer_details" in following aspects:
- Tool calling costs: calculating the percentage of failed and replicated tools calling.
- Running costs: calculating the total tokens T used in execution.
- Milestone: calculating the milestone(fixed subtasks) reached in execution.
- Exploration: whether tries potential useful tools in execution. Just count times of successful tool calling with different tools/arguments in execution.

If you have made your decision, calling `select_better_answer`, else if you cannot determine, select a random answer."""

_STATUS = {"type": "string", "enum": ["Unsure", "Unsolved", "Solved"]}
_REASON = {"type": "string", "description": "explain your answer."}


def _function(name: str, description: str, properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": name, "description": description, "parameters": parameters}


def _scores(description: str, item: str) -> dict[str, Any]:
    return {"type": "array", "description": description, "items": {"type": "number", "description": item}}


STEPS_FUNCTION = _function(
    "evaluate_process_reward",
    "Report the judgement of a whole task-solving course: its tool calls, their contributions and the final answer.",
    {
        "succeed_tool_calling": _scores(
            "One entry per intermediate step: was its tool called successfully?", "0 no, 1 yes"
        ),
        "contribution_to_final_answer": _scores(
            "One entry per intermediate step: its contribution to the final answer.", "0 none, up to 5 decisive"
        ),
        "final_answer_status": _STATUS | {"description": "The status of the final answer."},
    },
)
CHECK_FUNCTION = _function(
    "check_answer_status",
    "Parse the json answer with layerd nodes and return the answer_status about the answer",
    {"answer_status": _STATUS, "reason": _REASON},
)
PARSE_FUNCTION = CHECK_FUNCTION | {"name": "parse_answer_status"}
SELECT_FUNCTION = _function(
    "select_better_answer",
    "Select the better answer with a comprehensive investigation on given aspects. You should ignore the impact of the order of candidate answers.",
    {
        "index": {"type": "number", "description": "The `index` value in the selected better answer."},
        "reason": _REASON,
    },
)
