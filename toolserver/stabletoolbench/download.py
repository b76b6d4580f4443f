"""Download of one file: bounded, resumed after an interruption, checked."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx

from toolserver.errors import ConfigurationError, DataError

_ATTEMPTS = 5  # connections in a row that bring nothing


def download(
    url: str,
    target: Path,
    *,
    max_bytes: int,
    sha256: str = "",
    timeout: float = 60.0,
    progress: Callable[[int], None] = lambda _: None,
) -> str:
    """Fetch `url` into `target`. Return the SHA-256 of the file in hexadecimal.

    What arrives is kept in `<target>.partial`; an interrupted download goes on from there, at once or at the next
    call, if the server still has the same file (by its `ETag` or `Last-Modified`). A complete `target` is not fetched
    again.

    Args:
        url: Address, http or https.
        target: File to write.
        max_bytes: Maximum size of the file in bytes.
        sha256: Expected SHA-256; empty for any.
        timeout: Seconds to wait for the connection and for each part of the answer.
        progress: Called with the number of bytes so far.

    Raises:
        ConfigurationError: The file is larger than `max_bytes`.
        DataError: The server does not give the file, or it has another SHA-256; the message says which.
    """
    if not target.is_file():
        partial = target.with_name(target.name + ".partial")
        target.parent.mkdir(parents=True, exist_ok=True)
        with httpx.Client(timeout=timeout, follow_redirects=True) as client:
            _fetch(client, url, partial, max_bytes, progress)
        _check(partial, url, sha256)
        partial.replace(target)
        _tag_file(partial).unlink(missing_ok=True)
    return _check(target, url, sha256)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(path: Path, url: str, sha256: str) -> str:
    """Return the SHA-256 of a file. Remove it and raise `DataError` if it is not the expected one."""
    found = digest(path)
    if sha256 and found != sha256.lower():
        path.unlink()
        raise DataError(f"{url}: its SHA-256 is {found}, not {sha256}; the file was removed. Check --sha256 and source")
    return found


def _fetch(client: httpx.Client, url: str, partial: Path, max_bytes: int, progress: Callable[[int], None]) -> None:
    failures = 0
    while True:
        before = partial.stat().st_size if partial.is_file() else 0
        try:
            _request(client, url, partial, before, max_bytes, progress)
            return
        except httpx.HTTPStatusError as error:
            raise DataError(f"{url}: the server answered HTTP {error.response.status_code}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            now = partial.stat().st_size if partial.is_file() else 0
            failures = 0 if now > before else failures + 1
            if failures == _ATTEMPTS or isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
                kept = f"; {now:,} bytes are kept, and the same command goes on from there" if now else ""
                raise DataError(f"{url}: cannot be fetched ({type(error).__name__}: {error}){kept}") from None


def _request(
    client: httpx.Client, url: str, partial: Path, have: int, max_bytes: int, progress: Callable[[int], None]
) -> None:
    """Fetch what is missing of the file, by one request."""
    tag = _tag_file(partial)
    known = tag.read_text(encoding="utf-8") if have and tag.is_file() else ""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-", "If-Range": known} if known else {})
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            if response.headers.get("content-range") == f"bytes */{have}":
                return  # complete
            partial.unlink()
            raise httpx.ReadError("the partial file is not the beginning of the file")
        response.raise_for_status()
        go_on = response.status_code == httpx.codes.PARTIAL_CONTENT
        if go_on and not response.headers.get("content-range", "").startswith(f"bytes {have}-"):
            raise httpx.ReadError("the server sends another range than it was asked for")
        start = have if go_on else 0
        _check_size(start + int(response.headers.get("content-length", 0)), max_bytes, url)
        mark = response.headers.get("etag", "")
        mark = response.headers.get("last-modified", "") if not mark or mark.startswith("W/") else mark
        with partial.open("ab" if go_on else "wb") as file:
            tag.write_text(mark, encoding="utf-8")  # after the bytes of another file are gone
            for block in response.iter_raw():  # a chunk size would hold back what an interruption then loses
                start += len(block)
                _check_size(start, max_bytes, url)
                file.write(block)
                progress(start)


def _check_size(size: int, max_bytes: int, url: str) -> None:
    if size > max_bytes:
        raise ConfigurationError(f"{url}: is larger than {max_bytes:,} bytes; give --max-bytes, if it should be")


def _tag_file(partial: Path) -> Path:
    return partial.with_name(partial.name + ".tag")
