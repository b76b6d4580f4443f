"""Error texts of vendors."""

from __future__ import annotations

from toolserver.catalog.api_schema import Outcome

_FORMS: dict[Outcome, tuple[str, str, str, str]] = {
    Outcome.NOT_FOUND: ("{}", "404 Not Found: {}", "Not found. {}", "Error 404 - {}"),
    Outcome.INVALID_ARGUMENTS: ("{}", "400 Bad Request: {}", "Validation failed. {}", "Invalid request - {}"),
    Outcome.CONFLICT: ("{}", "409 Conflict: {}", "Request could not be completed. {}", "Rejected - {}"),
    Outcome.UNAUTHORIZED: ("{}", "401 Unauthorized: {}", "Authentication required. {}", "Access denied - {}"),
    Outcome.UNAVAILABLE: (
        "Service unavailable.",
        "503 Service Unavailable: this endpoint is down for maintenance.",
        "This endpoint is not working at the moment. Please contact the provider.",
        "502 Bad Gateway - upstream did not answer.",
    ),
    Outcome.FORBIDDEN: (
        "You are not subscribed to this API.",
        "403 Forbidden: your plan does not include this endpoint.",
        "This endpoint is disabled for your subscription.",
        "Access denied - subscription required.",
    ),
}


def worded(outcome: Outcome, message: str, style: int) -> str:
    """Return the text of an error in one of four styles."""
    forms = _FORMS.get(outcome)
    return forms[style].format(message) if forms else message
