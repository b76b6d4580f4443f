"""Cache of recorded responses and their catalog, on disk or in Redis."""

from toolserver.cache.record import CacheEntry, Description
from toolserver.cache.response_cache import CacheStats, OnConflict, PutResult, ResponseCache, StoreProblem
from toolserver.calls.call_key import canonical_key

__all__ = [
    "CacheEntry",
    "CacheStats",
    "Description",
    "OnConflict",
    "PutResult",
    "ResponseCache",
    "StoreProblem",
    "canonical_key",
]
