"""Import of StableToolBench's folders, query files and judged runs into a catalog and a cache."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from toolserver.cache import OnConflict, PutResult, ResponseCache
from toolserver.catalog.api_schema import ApiSpec
from toolserver.catalog.catalog import AddResult, Catalog
from toolserver.stabletoolbench.problems import ImportProblem, ImportProblems, read_json
from toolserver.stabletoolbench.queries import iter_queries
from toolserver.stabletoolbench.recordings import ApiKey, NotRecorded, recorded_step
from toolserver.stabletoolbench.responses import RecordedCall, read_responses
from toolserver.stabletoolbench.runs import JudgedEpisode, iter_judged_run
from toolserver.stabletoolbench.sources import DocumentKind, find_sources, kind_of
from toolserver.stabletoolbench.tools import read_tool

Progress = Callable[[Sequence[Path]], Iterable[Path]]
"""Function that wraps the sequence of files to show progress, like `rich.progress.track`."""

_BATCH = 1000  # recorded calls per transaction


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Result of an import.

    Attributes:
        files: Numbers of files by kind; `other files` are JSON files without anything to import.
        apis: Numbers of APIs by the result in the catalog.
        calls: Numbers of recorded calls by the result in the cache.
        skipped: Numbers of steps of judged runs that record no call, by reason.
        problems: Entries that could not be read.
    """

    files: Counter[str] = field(default_factory=Counter)
    apis: Counter[AddResult] = field(default_factory=Counter)
    calls: Counter[PutResult] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    problems: list[ImportProblem] = field(default_factory=list)


def import_folder(
    directory: str | Path,
    cache: ResponseCache,
    catalog: Catalog,
    *,
    strict: bool = False,
    on_conflict: OnConflict = "keep",
    progress: Progress = iter,
) -> ImportReport:
    """Import everything below `directory`: documentation first, then recorded responses, then judged runs.

    A second import changes nothing. The catalog is changed in memory; the caller saves it.

    Args:
        directory: Folder with any of `tools/`, `tool_response_cache/`, query files and judged runs, at any depth.
        cache: Cache for the recorded calls.
        catalog: Catalog for the APIs.
        strict: Stop at the first entry that cannot be read, instead of listing it.
        on_conflict: Policy for a call that has another answer already.
        progress: Wraps the sequence of files.

    Raises:
        DataError: No file can be imported or, if strict, an entry cannot be read.
        ConflictError: A call has another answer, and `on_conflict` is `error`.
    """
    return _Import(Path(directory), cache, catalog, ImportProblems(strict=strict), on_conflict).run(progress)


class _Import:
    def __init__(
        self, root: Path, cache: ResponseCache, catalog: Catalog, problems: ImportProblems, on_conflict: OnConflict
    ) -> None:
        self._root = root
        self._cache = cache
        self._catalog = catalog
        self._problems = problems
        self._on_conflict: OnConflict = on_conflict
        self._report = ImportReport(problems=problems.found)
        self._offered: dict[tuple[str, str], dict[str, ApiKey]] = {}  # functions by query id and query
        self._runs: list[Path] = []

    def run(self, progress: Progress) -> ImportReport:
        sources = find_sources(self._root)
        plan = dict.fromkeys(sources.tools, self._read_tool)
        plan |= dict.fromkeys(sources.documents, self._read_document)
        plan |= dict.fromkeys(sources.responses, self._read_responses)
        for path in progress(list(plan)):
            plan[path](path)
        for path in self._runs:  # after the queries, which name the offered APIs
            self._read_run(path)
        return self._report

    def _read_tool(self, path: Path) -> None:
        self._report.files["tools"] += 1
        self._add_all(read_tool(path, self._problems))

    def _read_responses(self, path: Path) -> None:
        self._report.files["tool_response_cache"] += 1
        self._put_all(read_responses(path, self._root, self._problems))

    def _read_document(self, path: Path) -> None:
        content = read_json(path, self._problems)
        kind = kind_of(content)
        self._report.files[kind] += 1
        if kind is DocumentKind.JUDGED_RUN:
            self._runs.append(path)
        elif kind is DocumentKind.QUERIES:
            for query in iter_queries(path, content, self._problems):
                self._add_all(query.apis)
                functions = {spec.function_name: spec.key for spec in reversed(query.apis)}
                self._offered[query.query_id, query.query] = functions

    def _add_all(self, specs: Iterable[ApiSpec]) -> None:
        for spec in specs:
            self._report.apis[self._catalog.add(spec)] += 1

    def _read_run(self, path: Path) -> None:
        source = str(path.relative_to(self._root))
        content = read_json(path, self._problems)
        for episode in iter_judged_run(path, content, self._problems):
            functions = self._offered.get((episode.query_id, episode.query))
            if functions is None:
                reason = "the query was not found among the query files, so its functions are unknown"
                self._problems.add(path, episode.query_id, reason)
            else:
                self._put_all(self._recorded_steps(episode, functions, source))

    def _recorded_steps(
        self, episode: JudgedEpisode, functions: dict[str, ApiKey], source: str
    ) -> Iterator[RecordedCall]:
        for number, step in enumerate(episode.steps, 1):
            try:
                yield recorded_step(step, functions, f"{source} {episode.query_id} step {number}")
            except NotRecorded as reason:
                self._report.skipped[str(reason)] += 1

    def _put_all(self, calls: Iterator[RecordedCall]) -> None:
        # Read a batch, then write it: a transaction blocks other writers.
        while batch := list(islice(calls, _BATCH)):
            with self._cache.transaction():
                for call, body, outcome, provenance, source in batch:
                    result = self._cache.put(
                        call, body, outcome, provenance, source=source, on_conflict=self._on_conflict
                    )
                    self._report.calls[result] += 1
