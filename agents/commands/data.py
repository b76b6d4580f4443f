"""`steptool data`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from shlex import quote
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import tyro
from rich.console import Console

from steptool_env.errors import ConfigurationError
from steptool_env.stabletoolbench.suite import SETS
from toolserver.cache.catalog_store import load_catalog, save_catalog
from toolserver.commands.import_ import importing
from toolserver.new_file import new_file
from toolserver.stabletoolbench import import_folder, read_queries
from toolserver.stabletoolbench.download import digest, download
from toolserver.stabletoolbench.unpack import Unpacked, unpack

_GIB = 2**30
_SOURCES = "SOURCES.json"


@dataclass(frozen=True)
class Command:
    """Fetch an archive of StableToolBench's data, unpack and import it, and say what it holds.

    An archive may hold any of solvable_queries/, tools/ and tool_response_cache/, at any depth; run the command once
    for each archive, with the same --out. docs/data.md names the public places. An interrupted download is continued.
    Nothing in an archive is executed, and only its JSON files of that layout are written.

    Example: steptool data stabletoolbench --from StableToolBench.zip --out data/stabletoolbench
    """

    benchmark: Annotated[Literal["stabletoolbench"], tyro.conf.Positional]
    """Benchmark whose data it is."""
    source: Annotated[str, tyro.conf.arg(name="from", metavar="URL|FILE")]
    """Address (http or https) or file of a zip or tar archive."""
    sha256: Annotated[str, tyro.conf.arg(metavar="HEX")] = ""
    """Expected SHA-256 of the archive; another one is refused before anything is unpacked."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("data/stabletoolbench")
    """Folder of the data, made if it does not exist."""
    max_bytes: int = 8 * _GIB
    """Maximum size in bytes of the archive, and of what it unpacks to."""

    def run(self) -> dict[str, Any]:
        """Fetch, check, unpack, import, print what there is, and return it."""
        self._check()
        noted = self._sources()
        archive, found = self._archive()
        unpacked = unpack(archive, self.out, max_bytes=self.max_bytes)
        self._note(noted, found, unpacked)
        console = Console()

        def say(line: str) -> None:
            console.print(line, highlight=False, soft_wrap=True, markup=False)

        say(f"{self.source}: {archive.stat().st_size:,} bytes, SHA-256 {found}")
        say(f"Licence: {unpacked.licence or 'the archive has no licence file; ask its source before you share it'}")
        files = ", ".join(f"{count:,} {place}" for place, count in sorted(unpacked.files.items()))
        say(f"Files: {files}; {unpacked.left_out:,} other members were left out")
        queries = self.out / "solvable_queries" / "test_instruction"
        for name in SETS:
            if (queries / f"{name}.json").is_file():
                say(f"Queries: {len(read_queries(queries / f'{name}.json')):,} {name}")
        imported, lines = self._import() if (self.out / "server").is_dir() else ({}, [])
        for line in lines:
            say(line)
        say(f"Next: {self._next(queries)}")
        described = {"licence": unpacked.licence, "files": dict(sorted(unpacked.files.items()))}
        return {"out": self.out, "source": self.source, "sha256": found, **described, **imported}

    def _check(self) -> None:
        hexadecimal = set(self.sha256.lower()) <= set("0123456789abcdef")
        if self.sha256 and not (len(self.sha256) == 64 and hexadecimal):
            raise ConfigurationError(f"sha256={self.sha256!r}: must be 64 hexadecimal digits")
        if self.max_bytes < 1:
            raise ConfigurationError(f"max_bytes={self.max_bytes}: must be at least 1")

    def _archive(self) -> tuple[Path, str]:
        """Return the archive and its SHA-256."""
        if not self.source.startswith(("http://", "https://")):
            path = Path(self.source)
            if not path.is_file():
                raise ConfigurationError(f"from={self.source!r}: no such file, and no http(s) URL")
            found = digest(path)
            if self.sha256 and found != self.sha256.lower():
                raise ConfigurationError(f"from={self.source!r}: its SHA-256 is {found}, not {self.sha256}")
            return path, found
        name = PurePosixPath(urlsplit(self.source).path).name or "archive"
        mark = blake2b(self.source.encode(), digest_size=6).hexdigest()
        target = self.out / "downloads" / f"{mark}-{name[-60:]}"
        return target, download(self.source, target, max_bytes=self.max_bytes, sha256=self.sha256)

    def _sources(self) -> dict[str, Any]:
        """Return the sources that the folder has noted already."""
        file = self.out / _SOURCES
        try:
            noted = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        except ValueError as error:
            raise ConfigurationError(f"{file}: is not JSON ({error}); mend it, or give another --out") from error
        if not isinstance(noted, dict):
            raise ConfigurationError(f"{file}: must be a JSON object of sources; mend it, or give another --out")
        return noted

    def _note(self, noted: Mapping[str, Any], found: str, unpacked: Unpacked) -> None:
        """Add the source to SOURCES.json, so that the folder says where its data is from."""
        entry = {"sha256": found, "licence": unpacked.licence, "files": dict(sorted(unpacked.files.items()))}
        with new_file(self.out / _SOURCES) as file:
            file.write((json.dumps({**noted, self.source: entry}, indent=2) + "\n").encode())

    def _import(self) -> tuple[dict[str, Any], list[str]]:
        """Import the recordings. Return what was imported, as a record and as lines."""
        cache, folder = self.out / "cache", self.out / "server"
        catalog = load_catalog(cache)
        with importing(str(cache), folder) as responses:
            report = import_folder(folder, responses, catalog)
            save_catalog(catalog, cache)
            total = len(responses)
        lines = [f"Recordings: {total:,} calls of {len(catalog):,} APIs in {cache}"]
        if report.problems:
            lines.append(f"Problems: {len(report.problems):,} entries could not be read, e.g. {report.problems[0]}")
        return {"recordings": total, "apis": len(catalog), "problems": len(report.problems)}, lines

    def _next(self, queries: Path) -> str:
        if not queries.is_dir():
            return "fetch solvable_queries/ with another --from and the same --out"
        if not (self.out / "cache").is_dir():
            return "fetch tools/ and tool_response_cache/ with another --from and the same --out"
        return (
            "steptool evaluate --env StepTool/StableToolBench-v0 --agent random --env-args suite=all "
            f"queries={quote(str(queries))} cache={quote(str(self.out / 'cache'))} --out runs/random"
        )
