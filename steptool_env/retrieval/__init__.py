"""Retrieval of APIs for a query: retrievers by name, and their recall and NDCG."""

from steptool_env.retrieval.metrics import ndcg_at, recall_at
from steptool_env.retrieval.retrievers import Document, Retriever, document_of, make_retriever

__all__ = ["Document", "Retriever", "document_of", "make_retriever", "ndcg_at", "recall_at"]
