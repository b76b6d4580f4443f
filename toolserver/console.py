"""Parts of both console commands, `toolserver` and `steptool`: output for scripts, and errors in one style.

A command prints for people. With `--json` it prints its result as JSON instead, and what is for people goes to standard
error; with `--quiet` nothing is printed for people. An error is one line on standard error with status 2.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from inspect import Parameter, signature
from io import StringIO, TextIOWrapper
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn

import tyro
from tyro.conf import FlagCreatePairsOff

from toolserver.children import ended_by_signals
from toolserver.errors import StepToolError

FAILED = 2
"""Exit status after an error; 1 is that of a command which did its work and found problems."""

Quiet = Annotated[
    bool,
    FlagCreatePairsOff,
    tyro.conf.arg(aliases=["-q"], help="Print no progress and no summary: warnings, errors and --json only."),
]
Json = Annotated[
    bool,
    FlagCreatePairsOff,
    tyro.conf.arg(help="Print the result as one JSON object; progress and summary go to standard error."),
]


@dataclass(frozen=True)
class OutputFlags:
    """Flags of every command that ends with a result."""

    quiet: Quiet = False
    json: Json = False


class Result(NamedTuple):
    """Result of a command: what `--json` prints, and the exit status."""

    record: Mapping[str, Any]
    status: int = 0


def run_printed(command: Callable[[], Mapping[str, Any] | None], flags: OutputFlags) -> None:
    """Run a command under its flags, and print its result with `--json`. `None` prints nothing."""
    out = sys.stdout
    with ExitStack() as stack:
        if flags.quiet:
            nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            stack.enter_context(redirect_stdout(nowhere))
        elif flags.json:
            stack.enter_context(redirect_stdout(sys.stderr))
        record = command()
    if flags.json and record is not None:
        out.write(json.dumps(_plain(record), indent=2, default=str) + "\n")
        out.flush()


def printed(command: Callable[..., Result]) -> Callable[..., int]:
    """Give a command, as a function of its flags, those of `OutputFlags`; it returns the exit status then."""

    def run(*values: Any, quiet: bool = False, json: bool = False, **named: Any) -> int:
        done: list[Result] = []

        def record() -> Mapping[str, Any]:
            done.append(command(*values, **named))
            return done[0].record

        run_printed(record, OutputFlags(quiet, json))
        return done[0].status

    flags = {"quiet": Quiet, "json": Json}
    added = [Parameter(name, Parameter.KEYWORD_ONLY, default=False, annotation=kind) for name, kind in flags.items()]
    shape = signature(command)
    run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
    run.__annotations__ = {**command.__annotations__, **flags, "return": int}
    run.__signature__ = shape.replace(  # type: ignore[attr-defined]
        parameters=[*shape.parameters.values(), *added], return_annotation=int
    )
    return run


def escape_unprintable_text() -> None:
    """Escape characters of standard output that its encoding lacks, such as `–` in Latin-1, as standard error does."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def errors_in_one_line(command: str, hint: Callable[[str], str]) -> Iterator[None]:
    """End the process after an error with one line and status 2; 130 after an interrupt, 143 and 129 after signals.

    Args:
        command: Name of the command, for a message about a missing package.
        hint: Returns the command that installs a missing package.
    """
    try:
        with ended_by_signals():
            yield
    except StepToolError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        _fail(f"{command} needs {error.name}: {hint(error.name or '')}")
    except BrokenPipeError:  # the reader of the output has ended, e.g. `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if error.filename is None:  # no file of the user's
            raise
        _fail(f"{error.filename}: {error.strerror}; give another path")
    except KeyboardInterrupt:
        sys.exit(130)


@contextmanager
def wrong_flags_in_one_line(command: str = "") -> Iterator[None]:
    """While flags are parsed: turn tyro's message about wrong ones, a box of several lines, into one line.

    `command` is named as that whose `--help` lists the flags, by default the one that tyro names.
    """
    shown = StringIO()
    try:
        with redirect_stderr(shown):
            yield
    except SystemExit as end:
        if end.code == FAILED and (message := flag_error(shown.getvalue(), command)):
            _fail(message)
        sys.stderr.write(shown.getvalue())
        raise
    sys.stderr.write(shown.getvalue())


def flag_error(box: str, command: str = "") -> str:
    """Return tyro's message about wrong flags without its frame: the problem, close flags, and where all are listed.

    That is `command --help`, by default what tyro names.
    """
    lines = _COLOUR.sub("", box).splitlines()
    framed = [line[2:].rstrip("│ ") for line in lines if line.startswith("│")]
    rows = framed or [line[2:].rstrip() for line in lines[2:]]  # without UTF-8 there is a title and a rule above
    parts = [list(part) for is_rule, part in groupby(rows, lambda row: set(row) in ({"─"}, {"-"})) if not is_rule]
    if not parts:
        return ""
    words = _flat(parts[0]).partition(" Got errors:")[0]
    if flags := _flags(parts[0]):  # the other words describe these
        words = f"missing {', '.join(flags)}"
    for pattern, better in _REWORDED.items():
        words = re.sub(pattern, better, words)
    said, listed = [words[:1].lower() + words[1:].rstrip(".")], ""
    for part in parts[1:]:
        text = _flat(part)
        if text.startswith("Perhaps you meant:"):
            said.append(f"perhaps {' or '.join(_flags(part))}")
        elif text.startswith("Available subcommands: "):
            said.append(f"choose one of {text.partition(': ')[2]}")
        elif found := re.search(r"(?:run:?|see) (\S.*? --help)", text):
            listed = found[1]
    if listed and command:
        listed = f"{command} --help"
    return "; ".join([*said, *([f"`{listed}` lists the flags"] if listed else [])])


def _flags(rows: Sequence[str]) -> list[str]:
    """Return the rows that name a flag: those indented by four characters; its description is indented by eight."""
    return [row.strip() for row in rows if re.match(r" {4}\S", row)]


def _flat(rows: Sequence[str]) -> str:
    return " ".join(word for row in rows for word in row.split())


_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_REWORDED = {
    r"Unrecognized options: (.*)": r"no flag or word \1",
    r"Expected one of \{(.*)\}": r"a command is missing; choose one of \1",
    r"invalid choice ('.*?') for argument '(?:command\.)?(.*?)'\. Expected one of \((.*?),?\)": (
        r"\2 \1: choose one of \3"
    ),
    r"Missing value for argument '(.*?)'\. Expected (\d+) values?": r"\1: a value is missing",
    r"Error parsing (.*?): invalid literal for int\(\) with base 10: ('.*')": r"\1 \2: must be a whole number",
    r"Error parsing (.*?): could not convert string to float: ('.*')": r"\1 \2: must be a number",
    r"Error parsing (.*?): no type matching \{None\}\|INT could be instantiated from \[(.*)\]": (
        r"\1 \2: must be a whole number"
    ),
    r"Error parsing (.*?): no type matching \{None\}\|FLOAT could be instantiated from \[(.*)\]": (
        r"\1 \2: must be a number"
    ),
    r"Error parsing (.*?): no type matching (.*) could be instantiated from \[(.*)\]": r"\1 \3: must be \2",
}
"""Patterns of tyro's messages, and what is said instead."""


def _fail(message: str) -> NoReturn:
    line = ". ".join(part.strip().rstrip(".") for part in message.splitlines())  # a remedy may be on a line of its own
    sys.stderr.write(f"error: {line}\n")
    sys.exit(FAILED)


def _plain(value: Any) -> Any:
    """Return a value with `None` for numbers that JSON lacks, and with texts as names."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value
