"""Unpacking of the parts of an archive that StableToolBench's data is, and of nothing else.

Members are read one by one and written under names that this module makes: a name that leads out of the folder, a
link or a device is refused or left out, never followed.
"""

import bz2
import gzip
import lzma
import re
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, Self, cast

from toolserver.errors import ConfigurationError, DataError, StepToolError

_BLOCK = 2**20
_RATIO = 200  # unpacked bytes per byte of the archive, above which it is refused as a decompression bomb
_LEAST = 2**24  # bytes that any archive may become
_HEADERS = 2**24  # bytes of names and padding in a tar archive
_MOST_MEMBERS = 2_000_000
_OPENERS: Mapping[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
"""Functions that open a compressed file, by its first bytes."""
_PLACES = (
    (("solvable_queries", "test_instruction"), "solvable_queries/test_instruction", 1),
    (("solvable_queries", "test_query_ids"), "solvable_queries/test_query_ids", 1),
    (("tool_response_cache",), "server/tool_response_cache", 3),
    (("tools",), "server/tools", 2),
)
"""Folders in an archive, where their files belong, and the number of parts of their names below it."""

_LICENCE = re.compile(r"(LICEN[CS]E|COPYING)(\.(md|txt))?", re.IGNORECASE)


@dataclass
class Unpacked:
    """Result of unpacking.

    Attributes:
        files: Numbers of files that were written, by place.
        left_out: Number of other members.
        licence: First line with text of the archive's licence file; empty without one.
    """

    files: Counter[str] = field(default_factory=Counter)
    left_out: int = 0
    licence: str = ""


def unpack(archive: Path, folder: Path, *, max_bytes: int) -> Unpacked:
    """Write the data in a zip or tar archive into `folder`, in the layout that environments read.

    Args:
        archive: The file.
        folder: Folder to write to; files of the same names are replaced.
        max_bytes: Maximum size of the unpacked data in bytes, in a tar archive with the names and the members that are
            left out.

    Raises:
        ConfigurationError: The unpacked data is larger than `max_bytes`, or has more than two million members.
        DataError: The file is not an archive, is damaged, has an unsafe member, or holds no data of StableToolBench.
    """
    limit = min(max_bytes, max(_LEAST, archive.stat().st_size * _RATIO))
    result, written = Unpacked(), 0
    try:
        with _members(archive, limit) as members:
            for number, (name, source) in enumerate(members):
                if number >= _MOST_MEMBERS:
                    raise ConfigurationError(f"{archive.name}: has more than {_MOST_MEMBERS:,} members")
                path = _safe(name, archive)
                if _LICENCE.fullmatch(path.name) and len(path.parts) <= 2:
                    result.licence = result.licence or _first_line(source)
                    continue
                place = _place(path)
                if place is None:
                    result.left_out += 1
                    continue
                written += _write(source, folder / place[0] / place[1], limit - written)
                if written > limit:
                    raise _too_large(archive, limit)
                result.files[place[0]] += 1
    except StepToolError:
        raise
    # RuntimeError: encrypted, or an unknown method. ValueError: a header that cannot be read.
    except (*_DAMAGED, EOFError, OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{archive.name}: cannot be unpacked ({type(error).__name__}: {error})") from error
    if not result.files:
        raise DataError(
            f"{archive.name}: holds no solvable_queries/test_instruction/, tools/ or tool_response_cache/ "
            f"({result.left_out} other files)"
        )
    return result


def _write(source: IO[bytes], target: Path, limit: int) -> int:
    """Write at most `limit` bytes of a member. Return the number that was read, above `limit` if it has more."""
    target.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with target.open("wb") as file:
        while block := source.read(_BLOCK):
            size += len(block)
            if size > limit:
                break
            file.write(block)
    return size


_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError)


def _too_large(archive: Path, limit: int) -> ConfigurationError:
    return ConfigurationError(
        f"{archive.name}: unpacks to more than {limit:,} bytes; give --max-bytes, "
        f"if it should (an archive may become {_RATIO} times as large)"
    )


class _Member(tarfile.TarInfo):
    """Header of a member, which `tarfile` reads whole into memory if it holds a long name."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: Any, errors: str) -> Self:
        """Return a header. Raises `DataError` for a name of more than a mebibyte."""
        member = super().frombuf(buf, encoding, errors)
        if member.type in _NAMES and member.size > _BLOCK:
            raise DataError(f"the archive holds a name of {member.size:,} bytes; nothing of it is used")
        return member


_NAMES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)


class _Bounded:
    """File of which at most `limit` bytes are read, whatever sizes the headers in it ask for."""

    def __init__(self, file: IO[bytes], archive: Path, limit: int) -> None:
        self._file, self._archive, self._limit, self._left = file, archive, limit, limit

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes. Raises `ConfigurationError` beyond the limit."""
        data = self._file.read(min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise _too_large(self._archive, self._limit)
        return data


@contextmanager
def _members(archive: Path, limit: int) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    """Give the regular files of an archive: name and content."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            yield _of_zip(zipped)
    else:
        with archive.open("rb") as file:
            first = file.read(8)
        opener = next((opener for magic, opener in _OPENERS.items() if first.startswith(magic)), None)
        with archive.open("rb") if opener is None else opener(archive) as content:
            # A stream reads a block more than it needs, and in front of a member its names.
            bounded = _Bounded(content, archive, limit + _HEADERS)
            try:
                tarred = tarfile.open(fileobj=cast(Any, bounded), mode="r|", tarinfo=_Member)  # noqa: SIM115
            except tarfile.ReadError:
                if opener is not None:
                    raise
                raise DataError(
                    f"{archive.name}: is neither a zip nor a tar archive (.zip, .tar, .tar.gz, .tar.bz2, .tar.xz)"
                ) from None
            with tarred:
                yield _of_tar(tarred)
            while bounded.read(_BLOCK):  # to its end, where the checksum is
                pass


def _of_zip(zipped: zipfile.ZipFile) -> Iterator[tuple[str, IO[bytes]]]:
    for info in zipped.infolist():
        kind = info.external_attr >> 28  # the type of the file where the archive is of Unix
        if info.is_dir() or kind not in (0, 8):  # 8: a regular file
            continue
        with zipped.open(info) as source:
            yield info.filename, source


def _of_tar(tarred: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for info in tarred:
        cast(Any, tarred).members = []  # the list of all members so far grows without bound
        source = tarred.extractfile(info) if info.isreg() else None
        if source is not None:
            with source:
                yield info.name, source


def _safe(name: str, archive: Path) -> PurePosixPath:
    """Return the path of a member. Raise `DataError` for one that leads out of the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        raise DataError(f"{archive.name}: the member {name!r:.200} leads out of the folder; nothing of it is used")
    return path


def _place(path: PurePosixPath) -> tuple[str, str] | None:
    """Return where a member belongs and its name there; `None` for a member that is not data."""
    if path.suffix != ".json" or any(part.startswith((".", "__MACOSX")) for part in path.parts):
        return None
    for marks, place, depth in _PLACES:
        for start in range(len(path.parts) - len(marks)):
            rest = path.parts[start + len(marks) :]
            if path.parts[start : start + len(marks)] == marks and len(rest) == depth:
                return place, "/".join(rest)
    return None


def _first_line(source: IO[bytes]) -> str:
    text = source.read(4096).decode("utf-8", "replace")
    return next((line.strip()[:80] for line in text.splitlines() if line.strip()), "")
