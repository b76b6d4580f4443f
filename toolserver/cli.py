"""The command line: `toolserver serve | import | export | verify | stats`."""

import sys
from collections.abc import Callable, Sequence
from functools import partial, wraps
from importlib.metadata import version
from itertools import takewhile
from typing import Any

from tyro.conf import FlagCreatePairsOff
from tyro.extras import SubcommandApp

from toolserver.commands import export, import_
from toolserver.commands.serve import serve
from toolserver.commands.stats import stats
from toolserver.commands.verify import verify
from toolserver.console import errors_in_one_line, printed, wrong_flags_in_one_line

_EXTRAS = {"mcp": "mcp"}  # package, and the extra that installs it
_COMMANDS = {"serve": 1, "import": 2, "export": 2, "verify": 1, "stats": 1}  # and their number of words
_DESCRIPTION = "Serve recorded, generated and simulated tools offline. `toolserver COMMAND --help` shows an example."


def main(args: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status: 0, 1 for problems that it found, 2 for an error."""
    words = list(sys.argv[1:] if args is None else args) or ["--help"]
    if words == ["--version"]:
        sys.stdout.write(f"toolserver {version('steptool-env')}\n")
        sys.exit(0)
    with errors_in_one_line(words[0], _install_hint):
        with wrong_flags_in_one_line(_command(words)):
            run = _app().cli(prog="toolserver", description=_DESCRIPTION, args=words, config=(FlagCreatePairsOff,))
        status = run()
    sys.exit(status or 0)


def _command(words: Sequence[str]) -> str:
    """Return the program with the command that words name, of one word or of two."""
    most = _COMMANDS.get(words[0], 0)
    return " ".join(["toolserver", *takewhile(lambda word: not word.startswith("-"), words[:most])])


def _install_hint(module: str) -> str:
    extra = _EXTRAS.get(module.partition(".")[0])
    return f"pip install 'steptool-env[{extra}]'" if extra else f"pip install {module}"


def _app() -> SubcommandApp:
    importing, exporting = SubcommandApp(), SubcommandApp()
    importing.command(_later(printed(import_.stabletoolbench)))
    importing.command(_later(printed(import_.complexfuncbench)))
    importing.command(_later(printed(import_.archive)))
    exporting.command(_later(printed(export.archive)))
    exporting.command(_later(printed(export.stabletoolbench)))
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
