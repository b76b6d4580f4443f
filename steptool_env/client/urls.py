"""Check of addresses that users give."""

import httpx

from steptool_env.errors import ConfigurationError


def checked_url(field: str, url: str, example: str) -> str:
    """Return an http(s) URL without slashes at its end.

    Raises:
        ConfigurationError: `url` is not an http(s) URL; the message has `field`, the value and `example`.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise ConfigurationError(f"{field}={url!r}: {error}; write it like {example}") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ConfigurationError(f"{field}={url!r}: not an http(s) URL; write it like {example}")
    return url.rstrip("/")
