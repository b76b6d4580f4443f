"""Results of benchmarks as Markdown and JSON, with date, machine, commit, versions and command."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

RESULTS = Path(__file__).parents[1] / "results"
"""Folder of the results in the repository."""

Value = str | int | float | None
Row = Mapping[str, Value]

_VERSIONS = ("gymnasium", "fastapi", "uvicorn", "httpx", "orjson", "diskcache", "numpy", "torch", "transformers")
_WIDTH = 120  # minimum characters per line


@dataclass(frozen=True)
class Result:
    """Result of one run of a benchmark.

    Attributes:
        name: Stem of the files.
        title: Heading.
        tables: Rows by heading; the rows of a table have the same columns.
        notes: Remarks: missing contestants, missed targets and their cause.
        figures: SVG by caption, one file each.
    """

    name: str
    title: str
    tables: Mapping[str, Sequence[Row]]
    notes: Sequence[str] = ()
    figures: Mapping[str, str] = field(default_factory=dict)

    def as_json(self, started: Mapping[str, Any]) -> dict[str, Any]:
        """Return the result and its `origin()` as JSON values."""
        tables = {heading: [dict(row) for row in rows] for heading, rows in self.tables.items()}
        dirty = {"dirty": started["dirty"]} if started.get("dirty") else {}
        return {
            **dirty,  # in the first line
            "benchmark": self.name,
            "title": self.title,
            **started,
            "tables": tables,
            "notes": list(self.notes),
            **({"figures": {caption: self.file_of(caption) for caption in self.figures}} if self.figures else {}),
        }

    def file_of(self, caption: str) -> str:
        """Return the name of a figure's file, e.g. `learning-2.svg`."""
        return f"{self.name}-{1 + list(self.figures).index(caption)}.svg"


def publish(result: Result, started: Mapping[str, Any], folder: Path | None) -> None:
    """Print a result and, if `folder` is given, write `<name>.json`, `<name>.md` and its figures.

    `started` is the value of `origin()` before the measurements.
    """
    console = Console()
    console.width = max(console.width, _WIDTH)
    if started.get("dirty"):
        console.print(_warning(started["dirty"]), style="yellow", markup=False, highlight=False)
    for heading, rows in result.tables.items():
        console.print(_rich_table(heading, rows))
    for note in result.notes:
        console.print(f"- {note}", markup=False, highlight=False)
    if folder is not None:
        write_result(result, started, folder)


def write_result(result: Result, started: Mapping[str, Any], folder: Path) -> None:
    """Write `<name>.json`, `<name>.md` and the figures of a result; see `publish`."""
    content = result.as_json(started)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{result.name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / f"{result.name}.md").write_text(markdown(content), encoding="utf-8")
    for caption, svg in result.figures.items():
        (folder / result.file_of(caption)).write_text(svg, encoding="utf-8")


def markdown(content: Mapping[str, Any]) -> str:
    """Render a result (as returned by `Result.as_json`) as a page."""
    machine = content["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in content["versions"].items())
    lines = [
        *((f"> {_warning(content['dirty'])}", "") if content.get("dirty") else ()),
        f"# {content['title']}",
        "",
        f"`{content['command']}`",
        "",
        f"{content['date']}, commit {content['commit']}. {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}; load before the run {machine['load']}. {versions}.",
    ]
    for heading, rows in content["tables"].items():
        lines += ["", f"## {heading}", "", *_markdown_table(rows)]
    for caption, file in content.get("figures", {}).items():
        lines += ["", f"![{caption}]({file})"]
    if content["notes"]:
        lines += ["", "## Notes", "", *(f"- {note}" for note in content["notes"])]
    return "\n".join(lines) + "\n"


def origin(packages: Sequence[str] = ()) -> dict[str, Any]:
    """Return the origin of figures: `date`, `command`, `commit`, `machine`, `versions` (those of `packages` too).

    If files of the source tree differ from the commit, `dirty` names them, and the commit has a `+`. Call it before the
    measurements, because the load of the machine is part of it.
    """
    changed = changed_files()
    commit = (_git("rev-parse", "--short", "HEAD") or "unknown").strip()  # outside a repository it is unknown
    return {
        **({"dirty": changed} if changed else {}),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["python", *sys.orig_argv[1:]]),
        "commit": commit + ("+" if changed else ""),
        "machine": {
            "cpu": _cpu(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "system": f"{platform.system()} {platform.release().split('-')[0]}",
            "load": round(os.getloadavg()[0], 2),
        },
        "versions": {"python": platform.python_version(), **_versions((*_VERSIONS, *packages))},
    }


def shown(value: Value) -> str:
    """Format a value: three significant digits, separated thousands."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return value


def _rich_table(heading: str, rows: Sequence[Row]) -> Table:
    table = Table(title=heading)
    for column in rows[0] if rows else ():
        words = any(isinstance(row[column], str) for row in rows)
        table.add_column(column, justify="left" if words else "right")
    for row in rows:
        table.add_row(*(escape(shown(value)) for value in row.values()))
    return table


def _markdown_table(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return ["(nothing)"]
    columns = list(rows[0])
    head = [f"| {' | '.join(columns)} |", f"|{'|'.join('---' for _ in columns)}|"]
    return head + [
        f"| {' | '.join(shown(row[column]).replace('|', chr(92) + '|') for column in columns)} |" for row in rows
    ]


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def changed_files(out: Path | None = None) -> list[str]:
    """Return the files of the source tree that differ from the commit or are not in it, except results and `out`."""
    top = _git("rev-parse", "--show-toplevel")
    if top is None:  # outside a repository there is no commit to differ from
        return []
    root = Path(top.strip())
    results = [folder.resolve() for folder in (RESULTS, out) if folder is not None]
    exclude = [
        f":(top,exclude){each.relative_to(root)}" for each in results if each.is_relative_to(root) and each != root
    ]
    listed = _git("status", "--porcelain", "--", ":(top)", *exclude) or ""
    return [line[3:] for line in listed.splitlines()]


def _warning(changed: Sequence[str]) -> str:
    return f"Measured with changes that are in no commit: {', '.join(changed)}."


def _git(*arguments: str) -> str | None:
    """Return the output of git for the running source; `None` without git or outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def _cpu() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
