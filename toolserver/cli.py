"""The command line: `toolserver serve | import | export | verify | stats`."""

import sys
from collections.abc import Callable, Sequence
from functools import partial, wraps
from importlib.metadata import version
from typing import Any

from tyro.conf import FlagCreatePairsOff
from tyro.extras import SubcommandApp

from toolserver.commands import export, import_
from toolserver.commands.serve import serve
from toolserver.commands.stats import stats
from toolserver.commands.verify import verify
from toolserver.console import (
    Result,
    errors_in_one_line,
    escape_unprintable_text,
    printed,
    wrong_flags_in_one_line,
)

_EXTRAS = {"mcp": "mcp"}  # package, and the extra that installs it
_GROUPS: dict[str, Sequence[Callable[..., Result]]] = {
    "import": (import_.stabletoolbench, import_.complexfuncbench, import_.archive),
    "export": (export.archive, export.stabletoolbench),
}
_DESCRIPTION = "Serve recorded, generated and simulated tools offline. `toolserver COMMAND --help` shows an example."


def main(args: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status: 0, 1 for problems that it found, 2 for an error."""
    if args is None:
        escape_unprintable_text()
    words = list(sys.argv[1:] if args is None else args) or ["--help"]
    if words == ["--version"]:
        sys.stdout.write(f"toolserver {version('steptool-env')}\n")
        sys.exit(0)
    with errors_in_one_line(words[0], _install_hint):
        command = _command(words)
        if words[0] in _GROUPS and len(command) == 1:
            words = words[:2]  # the second is wrong; flags after it are of no command
        with wrong_flags_in_one_line(" ".join(["toolserver", *command])):
            run = _app().cli(prog="toolserver", description=_DESCRIPTION, args=words, config=(FlagCreatePairsOff,))
        status = run()
    sys.exit(status or 0)


def _command(words: Sequence[str]) -> list[str]:
    """Return the words that name a command: none, one or two."""
    known = [*_GROUPS, "serve", "verify", "stats"]
    seconds = [command.__name__ for command in _GROUPS.get(words[0], ())]
    return [word for word, names in zip(words, (known, seconds), strict=False) if word in names]


def _install_hint(module: str) -> str:
    extra = _EXTRAS.get(module.partition(".")[0])
    return f"pip install 'steptool-env[{extra}]'" if extra else f"pip install {module}"


def _app() -> SubcommandApp:
    importing, exporting = SubcommandApp(), SubcommandApp()
    for group, name in ((importing, "import"), (exporting, "export")):
        for command in _GROUPS[name]:
            group.command(_later(printed(command)))
    app = SubcommandApp()
    app.command(_later(serve))
    app.command(importing, name="import", help="Fill a cache from files.")
    app.command(exporting, name="export", help="Write a cache into files.")
    app.command(_later(printed(verify)))
    app.command(_later(printed(stats)))
    return app


def _later(command: Callable[..., int | None]) -> Callable[..., Callable[[], int | None]]:
    """Give a command its flags without running it: errors of flags are reported in another way than its own."""

    @wraps(command)
    def parsed(*values: Any, **named: Any) -> Callable[[], int | None]:
        return partial(command, *values, **named)

    return parsed


if __name__ == "__main__":
    main()
