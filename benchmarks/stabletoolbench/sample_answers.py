"""Answer files of the sample: StableToolBench's examples with masked texts of tools and models.

Queries, system texts, offered functions and calls stay. Observations, thoughts and final answers are replaced, equal
texts by equal ones, so that the files remain consistent.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

_REPEATED = "function_output"  # DFS shows the results of earlier attempts to its model
EXAMPLES = Path("data_example")
METHODS = ("virtual_chatgpt_cot", "virtual_chatgpt_dfs")
ANSWERED = ("588", "608", "1073")
"""Queries of `G1_instruction` with answer files."""


def copy_answers(source: Path, out: Path) -> None:
    """Copy `answer/` and `model_predictions_converted/`, masked; keep the longest of a file's training messages."""
    for method in METHODS:
        for path in sorted((source / EXAMPLES / "answer" / method).rglob("*.json")):
            content = json.loads(path.read_text())
            generation = content["answer_generation"]
            generation["train_messages"] = generation["train_messages"][-1:]
            content["compare_candidates"] = []
            write_json(out / path.relative_to(source / EXAMPLES), masked(content))
        for path in sorted((source / EXAMPLES / "model_predictions_converted" / method).glob("*.json")):
            write_json(out / path.relative_to(source / EXAMPLES), masked(json.loads(path.read_text())))


def masked(value: Any) -> Any:
    """Return the content of a file with masked texts of tools and models."""
    if isinstance(value, list):
        return [masked(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _masked_field(value, key, item) for key, item in value.items()}


def _masked_field(owner: Mapping[str, Any], key: str, value: Any) -> Any:
    if not isinstance(value, str) or not value:
        return masked(value)
    if key in ("observation", "response") or (key == "content" and owner.get("role") == "function"):
        return _observation(value)
    if key in ("description", "arguments", "final_answer") and '"final_answer"' in value:
        return json.dumps({"return_type": "give_answer", "final_answer": _text("Answer", value)})
    if owner.get("role") == "user" and _REPEATED in value:
        return _text("List of earlier attempts", value)
    thought = key == "description" and owner.get("node_type") == "Thought"
    said = key in ("content", "message") and owner.get("role") not in ("system", "user")
    return _text("Thought", value) if thought or said else value


def _observation(value: str) -> str:
    """Mask the response and keep the error, which is ToolBench's text."""
    try:
        content = json.loads(value)
    except ValueError:
        content = {}
    error = content.get("error", "") if isinstance(content, dict) else ""
    return json.dumps({"error": error, "response": _text("Response", value)})


def _text(kind: str, original: str) -> str:
    return f"{kind} made for the sample ({blake2b(original.encode(), digest_size=4).hexdigest()})"


def write_json(path: Path, content: Any) -> None:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n")
