"""The command line: `toolserver serve | import | export | verify | stats`."""

import sys
from collections.abc import Sequence
from importlib.metadata import version

from tyro.conf import FlagCreatePairsOff
from tyro.extras import SubcommandApp

from toolserver.commands import export, import_
from toolserver.commands.serve import serve
from toolserver.commands.stats import stats
from toolserver.commands.verify import verify
from toolserver.console import errors_in_one_line, printed

_EXTRAS = {"mcp": "mcp"}  # package, and the extra that installs it
_DESCRIPTION = "Serve recorded, generated and simulated tools offline. `toolserver COMMAND --help` shows an example."


def main(args: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status: 0, 1 for problems that it found, 2 for an error."""
    words = list(sys.argv[1:] if args is None else args) or ["--help"]
    if words == ["--version"]:
        sys.stdout.write(f"toolserver {version('steptool-env')}\n")
        sys.exit(0)
    with errors_in_one_line(words[0], _install_hint):
        status = _app().cli(prog="toolserver", description=_DESCRIPTION, args=words, config=(FlagCreatePairsOff,))
    sys.exit(status or 0)


def _install_hint(module: str) -> str:
    extra = _EXTRAS.get(module.partition(".")[0])
    return f"pip install 'steptool-env[{extra}]'" if extra else f"pip install {module}"


def _app() -> SubcommandApp:
    importing, exporting = SubcommandApp(), SubcommandApp()
    importing.command(printed(import_.stabletoolbench))
    importing.command(printed(import_.complexfuncbench))
    importing.command(printed(import_.archive))
    exporting.command(printed(export.archive))
    exporting.command(printed(export.stabletoolbench))
    app = SubcommandApp()
    app.command(serve)
    app.command(importing, name="import", help="Fill a cache from files.")
    app.command(exporting, name="export", help="Write a cache into files.")
    app.command(printed(verify))
    app.command(printed(stats))
    return app


if __name__ == "__main__":
    main()
