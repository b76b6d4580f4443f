"""Page of sample tasks in the documentation: queries, calls and answers."""

from collections.abc import Iterable, Iterator

from steptool_env.toolworld.grading.oracle import gold_answer
from steptool_env.toolworld.planning.plan import Given, Source
from steptool_env.toolworld.sampler import TaskSampler
from steptool_env.toolworld.task import WorldTask
from toolserver.world import make_world
from toolserver.world.vendors import VendorRegistry

COMMAND = "steptool tasks page"

_PARTS = (
    ("Level `lite`", "lite", (("G3_instruction", 5), ("validation", 5))),
    ("Level `standard`", "standard", (("G3_instruction", 5), ("validation", 5))),
    ("Level `full`", "full", (("G3_instruction", 5), ("validation", 5))),
    ("Long chains of calls, level `full`", "full", (("depth-4", 3), ("depth-5", 3), ("depth-6", 4))),
)
"""Title, level, and splits with their number of tasks, for each part of the page."""

_HEAD = f"""# Forty tasks

Queries of world 0 as an agent reads them, each with its gold plan in one line: the operations in order, with the inputs
that the query states, `#1` for an output of call 1, and the gold answer. [toolworld.md](toolworld.md) describes how
tasks are made. `{COMMAND}` generates this page; a test compares it.
"""


def page() -> str:
    """Return the page as Markdown."""
    vendors = {level: VendorRegistry(make_world(0, level)) for _, level, _ in _PARTS}
    parts = [_HEAD]
    for title, level, splits in _PARTS:
        samplers = ((TaskSampler(vendors[level], split), count) for split, count in splits)
        tasks = (sampler.task(index) for sampler, count in samplers for index in range(count))
        parts.append(f"## {title}\n\n" + "\n".join(_entries(tasks)))
    return "\n".join(parts)


def plan_line(task: WorldTask) -> str:
    """Return the gold plan in one line, e.g. `city.search(name=Talby); hotel.top_rating_by_city(city_id=#1)`."""
    calls = []
    for node in task.plan.nodes:
        inputs = ", ".join(f"{name}={_source(source)}" for name, source in node.inputs.items())
        calls.append(f"{node.operation}({inputs})")
    return "; ".join(calls)


def _source(source: Source) -> str:
    return str(source.value) if isinstance(source, Given) else f"#{source.node + 1}.{source.output}"


def _entries(tasks: Iterable[WorldTask]) -> Iterator[str]:
    for number, task in enumerate(tasks, 1):
        answer = "" if task.plan.writes else f" → {gold_answer(task)}"
        yield f"{number}. **{task.query}**\n\n   `{plan_line(task)}`{answer} <small>({task.id})</small>\n"
