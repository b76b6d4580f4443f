"""`steptool retrieval`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from agents.options import Words, read_options
from agents.reporting.console import print_table
from steptool_env.errors import ConfigurationError
from steptool_env.retrieval import make_retriever
from steptool_env.retrieval.collections import Collection, measure, read_collection, suite_collection
from steptool_env.stabletoolbench.suite import load_suite

_SUITE_OPTIONS = ("suite", "data", "queries", "cache")


@dataclass(frozen=True)
class Command:
    """Measure retrievers on the relevant APIs of queries: recall@k and NDCG@k over the whole catalog.

    Without --collection the queries are StableToolBench's (by default the sample of the package). With it, those of a
    folder in BEIR's layout, such as ToolLens: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv.

    Example: steptool retrieval --suite-args suite=all data=DIR
    --retrievers bm25 ToolBench/ToolBench_IR_bert_based_uncased
    """

    retrievers: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ("bm25",)
    """Retrievers: bm25, or sentence-transformers models by name or folder."""
    suite_args: Words = ()
    """Queries and catalog, as the environment takes them: suite, data, queries, cache."""
    collection: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder in BEIR's layout, instead of StableToolBench's queries."""
    split: str = "test"
    """Split of --collection."""
    k: Annotated[tuple[int, ...], tyro.conf.arg(metavar="K...")] = (1, 3, 5, 10)
    """Numbers of retrieved documents."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File for the figures as JSON."""

    def run(self) -> dict[str, Any]:
        """Measure and print."""
        if not self.k or min(self.k) < 1:
            raise ConfigurationError(f"k={list(self.k)}: must be integers of at least 1")
        collection, cuts = self._collection(), list(dict.fromkeys(self.k))
        figures = {
            name: measure(collection, make_retriever(name, collection.documents), cuts) for name in self.retrievers
        }
        print_table(
            Console(),
            ("retriever", *(f"{name}@{k}" for name in ("R", "N") for k in cuts)),
            [(name, *(f"{value:.3f}" for value in found.values())) for name, found in figures.items()],
            f"{collection.name}: {len(collection.queries):,} queries, {len(collection.documents):,} documents",
            "R: recall, N: NDCG, means over the queries",
        )
        record = {
            "collection": collection.name,
            "queries": len(collection.queries),
            "documents": len(collection.documents),
            "retrievers": {name: {k: round(v, 6) for k, v in row.items()} for name, row in figures.items()},
        }
        if self.out is not None:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        return record

    def _collection(self) -> Collection:
        options = read_options("suite_args", self.suite_args)
        if self.collection is not None:
            if options:
                raise ConfigurationError("--suite-args and --collection: give one of them")
            return read_collection(self.collection, self.split)
        unknown = sorted(set(options) - set(_SUITE_OPTIONS))
        if unknown:
            raise ConfigurationError(f"--suite-args {unknown[0]}: must be one of {', '.join(_SUITE_OPTIONS)}")
        data, queries, cache = (options.get(name) for name in _SUITE_OPTIONS[1:])
        return suite_collection(load_suite(str(options.get("suite", "all")), data, queries, cache))
