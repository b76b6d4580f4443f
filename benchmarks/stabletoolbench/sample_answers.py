"""Answer files for the sample: StableToolBench's examples without what tools and models said in them.

Queries, system texts, offered functions, thoughts' places and calls stay. Observations, thoughts and final answers are
replaced by texts of this project; equal texts by equal ones, so that the files still fit together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

_REPEATED = "function_output"  # DFS shows its model what earlier attempts came to
EXAMPLES = Path("data_example")
METHODS = ("virtual_chatgpt_cot", "virtual_chatgpt_dfs")
ANSWERED = ("588", "608", "1073")
"""The queries of `G1_instruction` of which there are answer files."""


def copy_answers(source: Path, out: Path) -> None:
    """Copy `answer/` and `model_predictions_converted/`, masked; of a file's training messages the longest alone."""
    for method in METHODS:
        for path in sorted((source / EXAMPLES / "answer" / method).rglob("*.json")):
            content = json.loads(path.read_text())
            generation = content["answer_generation"]
            generation["train_messages"] = generation["train_messages"][-1:]
            _write(out / path.relative_to(source / EXAMPLES), {**content, "compare_candidates": []})
        for path in sorted((source / EXAMPLES / "model_predictions_converted" / method).glob("*.json")):
            _write(out / path.relative_to(source / EXAMPLES), json.loads(path.read_text()))


def masked(value: Any) -> Any:
    """A file's content without what tools and models said."""
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
    """The error stays, as ToolBench's own words for failures are; the response does not."""
    try:
        content = json.loads(value)
    except ValueError:
        content = {}
    error = content.get("error", "") if isinstance(content, dict) else ""
    return json.dumps({"error": error, "response": _text("Response", value)})


def _text(kind: str, original: str) -> str:
    return f"{kind} made for the sample ({blake2b(original.encode(), digest_size=4).hexdigest()})"


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(masked(content), ensure_ascii=False) + "\n")
