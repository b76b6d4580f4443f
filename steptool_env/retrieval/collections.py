"""Retrieval test collections: StableToolBench's queries with their relevant APIs, and folders in BEIR's layout."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from steptool_env.errors import DataError
from steptool_env.retrieval.metrics import ndcg_at, recall_at
from steptool_env.retrieval.retrievers import Document, Retriever, document_of
from steptool_env.stabletoolbench.suite import StableToolBenchSuite
from toolserver.catalog.api_schema import ApiSpec

_SCORE = re.compile(r"-?\d+(\.\d+)?")


class Collection(NamedTuple):
    """Queries with relevant documents of one corpus.

    Attributes:
        name: Name of the collection.
        documents: Corpus.
        queries: Text by query id.
        relevant: Names of the relevant documents by query id; none is empty.
    """

    name: str
    documents: Sequence[Document]
    queries: Mapping[str, str]
    relevant: Mapping[str, frozenset[str]]


def suite_collection(suite: StableToolBenchSuite) -> Collection:
    """Return the collection of a suite: its whole catalog, and the queries that name relevant APIs.

    A relevant API is known by its function name: an offered API of that name is relevant.
    """
    documents = [document_of(spec) for spec in suite.whole_catalog()]
    known = {document.name for document in documents}
    queries, relevant = {}, {}
    for task in map(suite.task, range(len(suite))):
        names = {
            "/".join(spec.key) for spec in suite.given_tools(task) if spec.function_name in set(task.relevant)
        } & known
        if names:
            key = f"{task.suite}/{task.id}"
            queries[key], relevant[key] = task.query, frozenset(names)
    if not queries:
        raise DataError(f"{suite.name}: no query names relevant APIs, so retrieval cannot be measured on it")
    return Collection(suite.name, documents, queries, relevant)


def read_collection(folder: Path, split: str = "test") -> Collection:
    """Return the collection of a folder in BEIR's layout, which ToolLens has.

    Args:
        folder: Folder with `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`) and
            `qrels/<split>.tsv` (`query-id`, `corpus-id`, `score`, with a header).
        split: Split of the relevance judgements.

    Raises:
        DataError: A file is missing or invalid, two documents have one id, or a judgement is of an unknown query or
            document.
    """
    file = folder / "corpus.jsonl"
    documents = [_document(number, record) for number, record in enumerate(_lines(file, ("_id", "text")))]
    texts = {str(record["_id"]): str(record["text"]) for record in _lines(folder / "queries.jsonl", ("_id", "text"))}
    known = {document.name for document in documents}
    if len(known) < len(documents):
        twice, _ = Counter(document.name for document in documents).most_common(1)[0]
        raise DataError(f"{file}: has two documents with the _id {twice!r:.80}; give each its own")
    file = folder / "qrels" / f"{split}.tsv"
    relevant: dict[str, set[str]] = {}
    header, *rows = _read(file)
    if _SCORE.fullmatch(header.rpartition("\t")[2].strip()):
        raise DataError(f"{file}: line 1: must be the header (query-id, corpus-id, score), not {header!r:.100}")
    for number, row in enumerate(rows, 2):
        if not row.strip():
            continue
        cells = row.split("\t")
        if len(cells) != 3 or cells[0] not in texts or cells[1] not in known or not _SCORE.fullmatch(cells[2].strip()):
            raise DataError(f"{file}: line {number}: must name a query, a document and a score, not {row!r:.100}")
        if float(cells[2]) > 0:
            relevant.setdefault(cells[0], set()).add(cells[1])
    if not relevant:
        raise DataError(f"{file}: has no relevant document")
    queries = {query: texts[query] for query in relevant}
    return Collection(folder.name, documents, queries, {query: frozenset(names) for query, names in relevant.items()})


def measure(collection: Collection, retriever: Retriever, cuts: Sequence[int]) -> dict[str, float]:
    """Return `recall@k` and `ndcg@k` for every k of `cuts`, means over the queries."""
    keys = list(collection.queries)
    ranked = retriever.rank([collection.queries[key] for key in keys], max(cuts))
    metrics = {}
    for name, metric in (("recall", recall_at), ("ndcg", ndcg_at)):
        for k in cuts:
            values = [metric(k, names, collection.relevant[key]) for key, names in zip(keys, ranked, strict=True)]
            metrics[f"{name}@{k}"] = sum(values) / len(values)
    return metrics


def _document(number: int, record: Mapping[str, Any]) -> Document:
    """Return a document of a corpus.

    The catalog searches names and takes similar ones for one API, so that its name there is not the id: the query
    "3 days" would find the document 3 first, and of `A-1` and `a_1` one would be lost.
    """
    name, text = str(record["_id"]), f"{record.get('title') or ''} {record['text']}".strip()
    return Document(name, text, ApiSpec("corpus", "corpus", f"zzq{number:09}", text))


def _lines(file: Path, fields: Sequence[str]) -> list[dict[str, Any]]:
    records = []
    for number, line in enumerate(_read(file), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{file}: line {number}: is not JSON: {error}") from error
        if not isinstance(record, dict) or any(field not in record for field in fields):
            raise DataError(f"{file}: line {number}: must be an object with {', '.join(fields)}")
        records.append(record)
    return records


def _read(file: Path) -> list[str]:
    """Return the lines of a file. Line feeds alone end one: JSON may hold the other breaks of `str.splitlines`."""
    try:
        return file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
