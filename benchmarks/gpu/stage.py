"""One stage in its process: rows are written as they are measured, so that an end at any time keeps the earlier ones.

python -m benchmarks.gpu.stage benchmarks.gpu.decode:measure --device cpu --tiny --report report.json
"""

import gc
import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from time import monotonic
from typing import Annotated

import tyro

from benchmarks.gpu.device import describe, release_memory
from benchmarks.harness.report import Row


@dataclass(frozen=True)
class Options:
    """Run one stage. Example: python -m benchmarks.gpu.stage benchmarks.gpu.decode:measure --device cpu --tiny."""

    measure: tyro.conf.Positional[str]
    """The stage's function, as `module:function`."""
    device: str = "cuda"
    """Device."""
    tiny: bool = False
    """Smallest sizes: every line of code runs, no figure means anything."""
    seconds: float = 600.0
    """Seconds until the stage leaves out what it has not begun."""
    report: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("report.json")
    """File of the rows and notes."""


class Report:
    """Rows and notes of a stage, and its time."""

    def __init__(self, options: Options) -> None:
        self.device, self.tiny = options.device, options.tiny
        self._end, self._file = monotonic() + options.seconds, options.report
        self._tables: dict[str, list[Row]] = {"Device": [describe(options.device)]}
        self._notes: list[str] = []

    @property
    def left(self) -> float:
        """Seconds that are left; 0 or less when no further measurement may begin."""
        return self._end - monotonic()

    def add(self, heading: str, row: Row) -> None:
        """Add a row to a table and write the report. All rows of a table have the same columns."""
        self._tables.setdefault(heading, []).append(row)
        self._write()

    def note(self, text: str) -> None:
        """Add a remark and write the report."""
        self._notes.append(text)
        self._write()

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Context of a measurement: an error, out-of-memory included, becomes a note, and the stage goes on."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            self.note(f"{what}: {type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}")
        finally:
            gc.collect()
            release_memory(self.device)

    def _write(self) -> None:
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps({"tables": self._tables, "notes": self._notes}), encoding="utf-8")
        partial.replace(self._file)


def main(options: Options) -> None:
    """Run the stage."""
    report = Report(options)
    resolve_name(options.measure)(report)


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.gpu.stage", description=Options.__doc__))
