"""Suite of StableToolBench's solvable queries with recorded calls: one query set, or all of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from steptool_env.benchmarks.solutions import BenchmarkSolutions
from steptool_env.errors import ConfigurationError, StepToolError
from steptool_env.options import shared_by_options
from steptool_env.retrieval.retrievers import document_of, make_retriever
from steptool_env.stabletoolbench.sample import SAMPLE, suite_name
from steptool_env.suites.imported import imported_cache
from steptool_env.suites.listed import ListedSuite
from steptool_env.suites.server_match import ServerMatch
from steptool_env.types import Task
from toolserver.cache import ResponseCache
from toolserver.cache.catalog_store import load_catalog
from toolserver.catalog.api_schema import ApiSpec
from toolserver.catalog.catalog import Catalog
from toolserver.episodes.state_token import StateCodec, opening_token
from toolserver.resolvers.base import Resolver
from toolserver.resolvers.recorded import RecordedResolver
from toolserver.resolvers.synthetic import SyntheticResolver
from toolserver.service.info import package_version
from toolserver.service.service import ToolService
from toolserver.stabletoolbench import read_queries

MISSES = ("strict", "synthetic")
"""Handling of a call that is not recorded, in process; a server supports more."""

SETS = ("G1_instruction", "G1_category", "G1_tool", "G2_instruction", "G2_category", "G3_instruction")
"""Query sets of StableToolBench in the order of its tables."""

ALL = "all"
"""Name of the suite of all sets."""

_QUERIES = Path("solvable_queries") / "test_instruction"

_FULL_DATA = (
    "All of the data comes from github.com/THUNLP-MT/StableToolBench: solvable_queries/, and by its links tools/ and "
    "tool_response_cache/ (docs/data.md).\n"
    "Import it with `toolserver import stabletoolbench DIR --cache CACHE`, then give queries= and cache=. With "
    "neither, and without data=, a sample is played."
)
"""Last lines of an error about missing data."""


class StableToolBenchSuite(ListedSuite):
    """One query set or all of them, answered from recordings.

    Without `data`, `queries` and `cache` it is the sample of the package: a few queries of every set, with responses
    made by this project, under the name `stabletoolbench-sample/<set>`. StableToolBench itself needs either `data`, a
    folder with `solvable_queries/test_instruction/<set>.json` and `server/` (with `tools/` and `tool_response_cache/`),
    or `queries` and `cache`.

    Args:
        suite: Query set, e.g. `G1_instruction`; or `all`: those of the six sets that are there, each task
            under the name of its set. An id that two sets have gets its set's name before it there.
        data: Folder with the data. Its recordings are imported once into the user's cache directory.
        queries: Query file, folder of `<set>.json` files, or folder of such a `test_instruction/`, instead of those in
            `data`.
        cache: Directory written by `toolserver import`, instead of the recordings in `data`.
        miss: Handling of a call that is not recorded: `strict` (an error) or `synthetic`.
        faults: Injected faults: `none`, `mild` or `harsh`.
        tools: Offered APIs: `given`, those of the query file, or `retrieved:K`, the first K of the whole catalog that
            `retriever` finds for the query.
        retriever: `bm25` or a sentence-transformers model, see `steptool_env.retrieval`.

    Raises:
        ConfigurationError: An argument is invalid or a file is missing; the message gives the remedy.
    """

    def __init__(
        self,
        suite: str,
        data: str | Path | None = None,
        queries: str | Path | None = None,
        cache: str | Path | None = None,
        miss: str = "strict",
        faults: str = "none",
        tools: str = "given",
        retriever: str = "bm25",
    ) -> None:
        retrieved = _retrieved(tools)
        if miss not in MISSES:
            raise ConfigurationError(f"miss={miss!r}: must be one of {', '.join(MISSES)}; a server supports more")
        self._arguments = (suite, _text(data), _text(queries), _text(cache), miss, faults, tools, retriever)
        sample = data is None and queries is None and cache is None
        data = SAMPLE if sample else data
        place = data if queries is None else queries
        files = _all_files(data, queries) if suite == ALL else {suite: _query_file(suite, data, queries)}
        self._cache = _cache_directory(data, cache)
        self._catalog = Catalog() if self._cache is None else load_catalog(self._cache)
        tasks = _distinct(
            task for each, file in files.items() for task in _read_tasks(suite_name(each, place), file, self._catalog)
        )
        self._given = {(task.suite, task.id): task.tools for task in tasks}
        self._retrieval = {"tools": tools, "retriever": retriever} if retrieved else {}
        if retrieved:
            tasks = _with_retrieved(tasks, self.whole_catalog(), retriever, retrieved)
        self._miss = miss
        self._faults = faults
        super().__init__(suite_name(suite, place), tasks)
        self.initial_state(self._tasks[0], 0)  # reject an unknown fault level before the first reset

    def initial_state(self, task: Task, episode_seed: int) -> str:
        """See `TaskSuite.initial_state`. Empty without faults: recordings are stateless."""
        if self._faults == "none":
            return ""
        return opening_token(episode_seed, self._faults, task.id)

    @property
    def settings(self) -> Mapping[str, Any]:
        """See `TaskSuite.settings`. Without file paths, which differ between machines."""
        return {"miss": self._miss, "faults": self._faults, **self._retrieval}

    def given_tools(self, task: Task) -> tuple[ApiSpec, ...]:
        """Return the APIs that the query file offers with a task, whatever `tools` is."""
        return self._given[task.suite, task.id]

    def whole_catalog(self) -> Catalog:
        """Return all known APIs: the catalog of the recordings, and those that the query files offer."""
        for given in self._given.values():  # offered APIs are known even if not imported
            for spec in given:
                self._catalog.add(spec)
        return self._catalog

    @property
    def server_match(self) -> ServerMatch:
        """Requirements on a server: recordings, and this version if the server reports one."""
        return ServerMatch(("recorded", "both"), {"version": package_version()}, optional=True)

    def make_service(self) -> ToolService:
        """See `ListedSuite.make_service`."""
        if self._cache is None:
            raise ConfigurationError("cache: without data=, cache= or server_url= nothing answers the calls; give one")
        catalog = self.whole_catalog()
        resolvers: list[Resolver] = [RecordedResolver(ResponseCache(self._cache, read_only=True))]
        if self._miss == "synthetic":
            resolvers.append(SyntheticResolver())
        return ToolService(catalog, resolvers, codec=StateCodec())

    def __reduce__(self) -> tuple[object, ...]:
        return StableToolBenchSuite, self._arguments


load_suite = shared_by_options(8)(StableToolBenchSuite)
"""Suite of the given arguments; environments with the same arguments share it."""


class QuerySets(BenchmarkSolutions[None]):
    """Tasks of StableToolBench, which have no reference solutions."""

    def env_args(self, suite: str, task_id: str) -> dict[str, Any]:  # noqa: ARG002 - the interface
        """See `BenchmarkSolutions.env_args`."""
        return {"suite": suite.rpartition("/")[2]}


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)


def _cache_directory(data: str | Path | None, cache: str | Path | None) -> Path | None:
    if cache is not None:
        if not Path(cache).is_dir():
            raise ConfigurationError(f"cache={str(cache)!r}: no such directory\n{_FULL_DATA}")
        return Path(cache)
    return None if data is None else imported_cache(Path(data) / "server")


def _query_file(name: str, data: str | Path | None, queries: str | Path | None) -> Path:
    if data is None and queries is None:
        raise ConfigurationError(f"queries: cache= alone has no tasks; give queries= with it\n{_FULL_DATA}")
    if queries is None and not Path(str(data)).is_dir():
        raise ConfigurationError(f"data={str(data)!r}: no such folder\n{_FULL_DATA}")
    place = _query_place(data, queries)
    file = place / f"{name}.json" if place.is_dir() else place
    if file.is_file():
        return file
    found = sorted(path.stem for path in file.parent.glob("*.json"))
    there = f"there are {', '.join(found)}" if found else f"there are no query files in {file.parent}"
    raise ConfigurationError(f"suite={name!r}: there is no {file}; {there}\n{_FULL_DATA}")


def _query_place(data: str | Path | None, queries: str | Path | None) -> Path:
    """Return the query file or folder. StableToolBench's `solvable_queries/` has the files one level below."""
    place = Path(str(queries)) if queries is not None else Path(str(data)) / _QUERIES
    below = place / _QUERIES.name
    return below if below.is_dir() and not any(place.glob("*.json")) else place


def _all_files(data: str | Path | None, queries: str | Path | None) -> dict[str, Path]:
    """Return the query files of the sets that are there, by set, in the order of `SETS`."""
    place = _query_place(data, queries)
    found = {name: place / f"{name}.json" for name in SETS if (place / f"{name}.json").is_file()}
    if not found:
        raise ConfigurationError(f"suite='{ALL}': {place} has no query set ({', '.join(SETS)})\n{_FULL_DATA}")
    return found


def _retrieved(tools: str) -> int:
    """Return K of `retrieved:K`, 0 for `given`."""
    kind, _, count = tools.partition(":") if isinstance(tools, str) else ("", "", "")
    if kind == "retrieved" and count.isdecimal() and int(count) > 0:
        return int(count)
    if tools != "given":
        raise ConfigurationError(f"tools={tools!r}: must be 'given' or 'retrieved:K' with K of at least 1")
    return 0


def _with_retrieved(tasks: Sequence[Task], catalog: Catalog, retriever: str, count: int) -> tuple[Task, ...]:
    """Return the tasks with the first `count` APIs of `catalog` that a retriever finds for each query."""
    documents = [document_of(spec) for spec in catalog]
    by_name = {document.name: document.spec for document in documents}
    ranked = make_retriever(retriever, documents).rank([task.query for task in tasks], count)
    return tuple(
        replace(task, tools=tuple(by_name[name] for name in names)) for task, names in zip(tasks, ranked, strict=True)
    )


def _distinct(tasks: Iterable[Task]) -> tuple[Task, ...]:
    """Return the tasks; ids that several sets have get the name of the set before them, so that an id is one task."""
    listed = tuple(tasks)
    count = Counter(task.id for task in listed)
    return tuple(task if count[task.id] == 1 else replace(task, id=f"{task.suite}/{task.id}") for task in listed)


def _read_tasks(name: str, file: Path, catalog: Catalog) -> tuple[Task, ...]:
    try:
        tasks = tuple(
            Task(each.query_id, name, each.query, tuple(_described(spec, catalog) for spec in each.apis), each.relevant)
            for each in read_queries(file)
        )
    except StepToolError as error:
        raise ConfigurationError(f"suite={name!r}: {error}") from error
    if not tasks:
        raise ConfigurationError(f"suite={name!r}: {file} has no queries")
    return tasks


def _described(spec: ApiSpec, catalog: Catalog) -> ApiSpec:
    """Return `spec` with the description of its tool, which query files lack."""
    known = catalog.get(*spec.key)
    return spec if known is None else replace(spec, tool_description=known.tool_description)
