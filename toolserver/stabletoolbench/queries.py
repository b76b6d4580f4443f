"""Reader of StableToolBench's query files (`solvable_queries/test_instruction/<set>.json`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolserver.calls.naming import function_name
from toolserver.catalog.api_schema import ApiSpec
from toolserver.catalog.views import read_documentation
from toolserver.errors import DataError
from toolserver.stabletoolbench.problems import ImportProblems, read_json


@dataclass(frozen=True, slots=True)
class Query:
    """One query with the APIs that are offered for it.

    Attributes:
        query_id: Its number, as text; unique within a set.
        query: Text of the query.
        apis: The offered APIs, in their order.
        relevant: Function names of the "relevant APIs", in their order.
    """

    query_id: str
    query: str
    apis: tuple[ApiSpec, ...]
    relevant: tuple[str, ...]


def read_queries(path: str | Path) -> list[Query]:
    """Read all queries of a file. Raises `DataError`, which names query and reason, if one cannot be read."""
    path, problems = Path(path), ImportProblems(strict=True)
    return list(iter_queries(path, read_json(path, problems), problems))


def iter_queries(path: Path, content: Any, problems: ImportProblems) -> Iterator[Query]:
    """Iterate over the queries in a file's content. Queries that cannot be read are added to `problems`."""
    if not isinstance(content, list):
        problems.add(path, "", f"must be a list of queries, not {type(content).__name__}")
        return
    for position, item in enumerate(content):
        key = item.get("query_id", f"[{position}]") if isinstance(item, dict) else f"[{position}]"
        try:
            yield _query(item)
        except DataError as error:
            problems.add(path, key, error)


def _query(item: Any) -> Query:
    if not isinstance(item, dict):
        raise DataError(f"a query must be an object, not {item!r:.100}")
    query_id, query, apis = item.get("query_id"), item.get("query"), item.get("api_list")
    if not isinstance(query_id, int | str) or isinstance(query_id, bool):
        raise DataError(f"query_id must be a number or text, not {query_id!r:.100}")
    if not isinstance(query, str):
        raise DataError(f"query must be text, not {query!r:.100}")
    if not isinstance(apis, list):
        raise DataError(f"api_list must be a list, not {apis!r:.100}")
    specs = tuple(read_documentation(api) for api in apis)
    return Query(str(query_id), query, specs, tuple(_relevant(item.get("relevant APIs") or [])))


def _relevant(pairs: Any) -> Iterator[str]:
    if not isinstance(pairs, list):
        raise DataError(f'"relevant APIs" must be a list, not {pairs!r:.100}')
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(name, str) for name in pair):
            raise DataError(f'"relevant APIs" must list [tool, API], not {pair!r:.100}')
        yield function_name(*pair)
