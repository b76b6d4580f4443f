"""Retrievers: BM25, and dense retrieval with a sentence-transformers model."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple, Protocol

import numpy as np

from steptool_env.errors import ConfigurationError
from toolserver.catalog.api_schema import ApiSpec
from toolserver.catalog.catalog import Catalog

BM25 = "bm25"

_LETTER = re.compile(r"[^\W_]")  # or digit; without one the catalog returns every API


class Document(NamedTuple):
    """Document of a corpus: its name, and the text that a dense retriever encodes."""

    name: str
    text: str
    spec: ApiSpec


class Retriever(Protocol):
    """Ranks the documents of one corpus."""

    def rank(self, queries: Sequence[str], limit: int) -> list[list[str]]:
        """Return the names of at most `limit` documents per query, the best first. Equal scores keep the order."""


def make_retriever(name: str, documents: Sequence[Document]) -> Retriever:
    """Return a retriever over `documents`.

    Args:
        name: `bm25`, or a sentence-transformers model: a folder or a name of the Hugging Face hub, such as ToolBench's
            `ToolBench/ToolBench_IR_bert_based_uncased`.
        documents: Corpus, with distinct names.

    Raises:
        ConfigurationError: The model cannot be loaded, or sentence-transformers is not installed.
    """
    return Bm25Retriever(documents) if name == BM25 else DenseRetriever(name, documents)


def document_of(spec: ApiSpec) -> Document:
    """Return the document of an API. Its text is that of ToolBench's retriever (`process_retrieval_ducoment`)."""
    parameters = [json.dumps([_parameter(asdict(p)) for p in group]) for group in (spec.required, spec.optional)]
    template = "" if spec.template_response is None else spec.template_response
    text = (
        f"{spec.category}, {spec.tool}, {spec.name}, {spec.description}, required_params: {parameters[0]}, "
        f"optional_params: {parameters[1]}, return_schema: {json.dumps(template)}"
    )
    return Document("/".join(spec.key), text, spec)


def _parameter(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in ("name", "type", "description", "default")}


class Bm25Retriever:
    """The catalog's full-text search (SQLite FTS5), by names and descriptions of APIs."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._catalog = Catalog(document.spec for document in documents)
        self._names = {document.spec.key: document.name for document in documents}

    def rank(self, queries: Sequence[str], limit: int) -> list[list[str]]:
        """See `Retriever.rank`. A query without a word of any document has no result."""
        return [self._found(query, limit) if _LETTER.search(query) else [] for query in queries]

    def _found(self, query: str, limit: int) -> list[str]:
        return [self._names[spec.key] for spec in self._catalog.search(query, limit, max_words=None)]


class DenseRetriever:
    """Cosine similarity of a sentence-transformers model's embeddings, exact over the whole corpus."""

    def __init__(self, model: str, documents: Sequence[Document]) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ConfigurationError(
                f"retriever={model!r}: needs sentence-transformers (pip install 'steptool-env[retrieval]'), or give "
                f"retriever={BM25}: {error}"
            ) from error
        try:
            self._model = SentenceTransformer(model, device="cpu")
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigurationError(
                f"retriever={model!r}: must be {BM25} or a sentence-transformers model: {str(error)[:200]}"
            ) from error
        self._names = [document.name for document in documents]
        self._matrix = self._encode([document.text for document in documents])

    def rank(self, queries: Sequence[str], limit: int) -> list[list[str]]:
        """See `Retriever.rank`."""
        if not queries:
            return []
        similarity = self._encode(queries) @ self._matrix.T
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :limit]
        return [[self._names[column] for column in row] for row in order]

    def _encode(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        return np.asarray(self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False))
