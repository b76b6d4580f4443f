"""Invented APIs, and their folders in StableToolBench's layout."""

import json
from pathlib import Path
from typing import Any

from toolserver.catalog.api_schema import ApiSpec, Parameter

WEATHER = ApiSpec(
    category="Weather",
    tool="Sky Watch",
    name="getForecast",
    description="The forecast for a city.",
    required=(Parameter("city", "STRING", "Name of the city", "Oslo"),),
    optional=(Parameter("days", "NUMBER", "How many days", 3), Parameter("ID", "BOOLEAN"), Parameter("on", "DATE")),
    method="POST",
    template_response={"days": [{"high": "int", "_list_length": 3}]},
    tool_description="Weather for everybody.",
)
SCORES = ApiSpec("Sports", "Goal Line", "Live Scores", "Scores of matches that are being played.")
CARDS = ApiSpec("Sports", "Goal Line", "Cards", "Yellow and red cards.", optional=(Parameter("match", "NUMBER"),))
APIS = (WEATHER, SCORES, CARDS)


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def tool_file(name: str, *apis: dict[str, Any]) -> dict[str, Any]:
    return {"tool_name": name, "tool_description": f"About {name}.", "api_list": list(apis)}


def api(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "description": f"{name} of the tool",
        "method": "GET",
        "required_parameters": [],
        "optional_parameters": [],
    } | fields


def query(
    query_id: int, words: str, *offered: dict[str, Any], relevant: list[list[str]] | None = None
) -> dict[str, Any]:
    return {"query_id": query_id, "query": words, "api_list": list(offered), "relevant APIs": relevant or []}


def offered_api(category: str, tool: str, name: str) -> dict[str, Any]:
    return {
        "category_name": category,
        "tool_name": tool,
        "api_name": name,
        "api_description": "",
        "required_parameters": [],
        "optional_parameters": [],
        "method": "GET",
    }


def episode(words: str, *steps: tuple[str, str, str], judgement: str = "Solved") -> dict[str, Any]:
    """One episode of a judged run; each step is a function, its arguments and the response."""
    texts = [str(dict(zip(("name", "arguments", "response"), step, strict=True))) for step in steps]
    return {
        "query": words,
        "tool_names": ["Finish"],
        "answer_steps": "\n".join(f"Step {number}: {text}" for number, text in enumerate(texts, 1)),
        "final_step": f"Final step: {texts[-1]}",
        "is_solved": {"0": f"AnswerStatus.{judgement}"},
        "length": len(texts),
    }
