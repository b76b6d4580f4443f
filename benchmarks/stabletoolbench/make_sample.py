"""Generator of the shipped sample of StableToolBench's queries.

Queries and documentation are StableToolBench's (Apache-2.0). The responses that it distributes come from RapidAPI's
vendors and are not copied: every response, episode and judgement of the sample is generated from the documented shapes
and marked as such (`is_fake`).
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import tyro

from benchmarks.stabletoolbench.sample_answers import ANSWERED, copy_answers, write_json
from steptool_env.stabletoolbench.sample import SAMPLE
from steptool_env.types import FINISH
from toolserver.calls.call_key import canonical_key
from toolserver.catalog.api_schema import ApiSpec, Parameter, decode_body
from toolserver.errors import DataError
from toolserver.resolvers.base import ValidatedCall
from toolserver.resolvers.synthetic import SyntheticResolver
from toolserver.stabletoolbench import Query, read_queries, write_tools

SETS = ("G1_instruction", "G1_category", "G1_tool", "G2_instruction", "G2_category", "G3_instruction")
QUERIES = Path("solvable_queries") / "test_instruction"
IDS = Path("solvable_queries") / "test_query_ids"
_FAILURES = ("Rate limit per minute error...", "Unauthorized error...", "API not working error...")
_TYPED: Mapping[str, Any] = {"NUMBER": 1, "BOOLEAN": True, "ARRAY": [], "OBJECT": {}}
_MOST_EQUAL = 4  # maximum number of queries of a set with the same tools
_LONGEST = 10_000  # characters of a query with its documentation
_CUT = 1024  # characters of a response in a judged run, as published

Call = tuple[ApiSpec, dict[str, Any]]


@dataclass(frozen=True)
class Options:
    """Make the shipped sample from a copy of github.com/THUNLP-MT/StableToolBench.

    Example: python -m benchmarks.stabletoolbench.make_sample --source StableToolBench
    """

    source: Path
    """Folder of the repository; `solvable_queries/` and `data_example/` are read."""
    out: Path = SAMPLE
    """Folder of the sample, whose queries, tools and runs are replaced."""
    per_set: int = 8
    """Number of queries per set."""
    max_tools: int = 50
    """Number of tools in total."""


def main(options: Options) -> None:
    """Write queries, documentation, responses and runs. Equal sources give equal bytes."""
    for name in ("solvable_queries", "server", "judged_runs", "toolbench_answer_examples"):
        shutil.rmtree(options.out / name, ignore_errors=True)
    print(build(choose(options), options.out))
    copy_answers(options.source, options.out / "toolbench_answer_examples")


def build(chosen: Mapping[str, list[dict[str, Any]]], out: Path) -> str:
    """Write the queries of each set and their responses and runs. Return a summary."""
    queries: dict[str, list[Query]] = {}
    for name, items in chosen.items():
        write_json(out / QUERIES / f"{name}.json", items)
        write_json(out / IDS / f"{name}.json", {str(item["query_id"]): 0 for item in items})
        queries[name] = read_queries(out / QUERIES / f"{name}.json")
    everything = [query for some in queries.values() for query in some]
    specs = {spec.key: spec for query in everything for spec in query.apis}
    write_tools(out / "server" / "tools", specs.values())
    answers = {key: dict(recorded(spec)) for key, spec in sorted(specs.items())}
    write_answers(out / "server" / "tool_response_cache", answers)
    for run in RUNS:
        for name, some in queries.items():
            episodes = {query.query_id: episode(query, answers, run) for query in some}
            write_json(out / "judged_runs" / run / f"{name}.json", episodes)
    calls = sum(map(len, answers.values()))
    return f"{len(everything)} queries, {len({key[:2] for key in specs})} tools, {len(specs)} APIs, {calls} calls"


def choose(options: Options) -> dict[str, list[dict[str, Any]]]:
    """Choose queries of each set: those that need the fewest additional tools, in the order of a hash of their ids."""
    tools: set[tuple[str, str]] = set()
    chosen: dict[str, list[dict[str, Any]]] = {}
    for name in SETS:
        path = options.source / QUERIES / f"{name}.json"
        queries = {query.query_id: query for query in read_queries(path)}
        items = {str(item["query_id"]): item for item in json.loads(path.read_text())}
        chosen[name] = [items.pop(key) for key in ANSWERED] if name == "G1_instruction" else []
        tools |= {tool for item in chosen[name] for tool in _tools(item)}
        left = {key: item for key, item in items.items() if _fit(item, queries)}
        while len(chosen[name]) < options.per_set:
            of_set = [_tools(item) for item in chosen[name]]
            free = [key for key, item in left.items() if of_set.count(_tools(item)) < _MOST_EQUAL]
            item = left.pop(min(free, key=lambda key: (len(_tools(left[key]) - tools), _hash(key.encode()))))
            if len(tools | _tools(item)) > options.max_tools:
                raise DataError(f"{path}: {options.per_set} queries need more than {options.max_tools} tools")
            tools |= _tools(item)
            chosen[name].append(item)
    return {name: chosen[name] for name in SETS}


def _fit(item: Mapping[str, Any], queries: Mapping[str, Query]) -> bool:
    """Return true if all needed functions are offered and the documentation is short."""
    query = queries[str(item["query_id"])]
    offered = {spec.function_name for spec in query.apis}
    choice = len(query.apis) >= 3 and len(query.relevant) >= 2
    return choice and {*query.relevant} <= offered and len(json.dumps(item)) < _LONGEST


def _tools(item: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(api["category_name"], api["tool_name"]) for api in item["api_list"]}


def recorded(spec: ApiSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the responses of an API: for its required arguments, and for all arguments with a documented default."""
    shortest = {each.name: example(each) for each in spec.required}
    longest = shortest | {each.name: each.default for each in spec.optional if each.default not in ("", None)}
    for arguments in (shortest, longest) if longest != shortest else (shortest,):
        yield str(arguments), answer(spec, arguments)


def example(parameter: Parameter) -> Any:
    """Return the documented default of a parameter, else a value of its type."""
    if parameter.default not in ("", None):
        return parameter.default
    return _TYPED.get(parameter.type.upper(), "sample")


def answer(spec: ApiSpec, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a response of the documented shape; about one call of ten fails."""
    key = canonical_key(spec.category, spec.tool, spec.name, arguments)
    drawn = _hash(key)
    if drawn % 10 == 0:
        return {"error": _FAILURES[drawn // 10 % len(_FAILURES)], "response": "", "is_fake": True}
    made = SyntheticResolver().resolve(ValidatedCall(*spec.key, arguments, key, spec))
    assert made is not None
    return {**decode_body(made.body), "is_fake": True}


def _hash(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=4).digest(), "big")


def write_answers(folder: Path, answers: Mapping[tuple[str, str, str], Mapping[str, Any]]) -> None:
    """Write one file per API in the format of StableToolBench's server."""
    for (category, tool, api), calls in answers.items():
        write_json(folder / category / f"{tool}_for_{category}" / f"{api}.json", calls)


RUNS = {"sample-thorough": True, "sample-hasty": False}
"""Scripted agents: one makes every relevant call, the other only the first."""


def episode(query: Query, answers: Mapping[tuple[str, str, str], Mapping[str, Any]], run: str) -> dict[str, Any]:
    """Return an episode of a judged run. It is solved if each relevant call was made and succeeded."""
    relevant = [spec for spec in query.apis if spec.function_name in query.relevant]
    made = relevant if RUNS[run] else relevant[:1]
    steps = [_step(spec, answers[spec.key]) for spec in made]
    failed = [step for step in steps if not step["response"].startswith('{"error": ""')]
    steps.append(_finish(steps, give_up=len(failed) == len(steps)))
    solved = "Unsolved" if "give_up" in steps[-1]["arguments"] else "Unsure" if failed or made != relevant else "Solved"
    return {
        "query": query.query,
        "tool_names": [*(spec.function_name for spec in query.apis), FINISH],
        "answer_steps": "\n".join(f"Step {number}: {step}" for number, step in enumerate(steps, 1)),
        "final_step": f"Final step: {steps[-1]}",
        "is_solved": {str(repeat): f"AnswerStatus.{solved}" for repeat in range(3)},
        "length": len(steps),
    }


def _step(spec: ApiSpec, calls: Mapping[str, Any]) -> dict[str, str]:
    arguments = {each.name: example(each) for each in spec.required}
    value = calls[str(arguments)]
    response = json.dumps({"error": value["error"], "response": value["response"]}, ensure_ascii=False)
    shown = response if len(response) <= _CUT else response[:_CUT] + "..."
    return {"name": spec.function_name, "arguments": json.dumps(arguments), "response": shown}


def _finish(steps: Sequence[Mapping[str, str]], give_up: bool) -> dict[str, str]:
    said = " ".join(f"{step['name']} says {step['response'][:200]}" for step in steps)
    arguments = {"return_type": "give_answer", "final_answer": said}
    response = '{"response": "successfully giving the final answer."}'
    if give_up:
        arguments, response = {"return_type": "give_up_and_restart"}, '{"response": "chose to give up and restart"}'
    return {"name": FINISH, "arguments": json.dumps(arguments), "response": response}


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.stabletoolbench.make_sample"))
