"""Outcomes of error texts in answers of the form `{"error": ..., "response": ...}`."""

from toolserver.catalog.api_schema import Outcome

# The first match counts; the words are ToolBench's (`process_error` of its server, `_step` of its `rapidapi.py`).
_WORDS: tuple[tuple[str, Outcome], ...] = (
    ("unauthorized", Outcome.UNAUTHORIZED),
    ("unsubscribed", Outcome.FORBIDDEN),
    ("not subscribed", Outcome.FORBIDDEN),
    ("blocked", Outcome.FORBIDDEN),
    ("too many requests", Outcome.QUOTA_EXCEEDED),
    ("rate limit", Outcome.RATE_LIMITED),
    ("not working", Outcome.UNAVAILABLE),
    ("gateway", Outcome.UNAVAILABLE),
    ("timed out", Outcome.TIMEOUT),
    ("time out", Outcome.TIMEOUT),
    ("timeout", Outcome.TIMEOUT),
    ("parse error", Outcome.INVALID_ARGUMENTS),
    ("unexpected keyword argument", Outcome.INVALID_ARGUMENTS),
    ("required positional argument", Outcome.INVALID_ARGUMENTS),
    ("message error", Outcome.NOT_FOUND),
)


def outcome_of_error(error: str) -> Outcome:
    """Return the outcome of an error text: `OK` when empty, `FAILED` when no known words match.

    The response is ignored: a body that mentions 404 or 500 is not a failure. (The reference server treats such bodies
    as failures.)
    """
    if not error:
        return Outcome.OK
    text = error.lower()
    return next((outcome for words, outcome in _WORDS if words in text), Outcome.FAILED)
