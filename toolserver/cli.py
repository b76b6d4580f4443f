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
from toolserver.errors import StepToolError

_DESCRIPTION = "Serve recorded, generated and simulated tools offline. `toolserver COMMAND --help` shows an example."


def main(args: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status: 0, 1 for a problem or an error, 2 for a wrong command."""
    if list(sys.argv[1:] if args is None else args) == ["--version"]:
        sys.stdout.write(f"toolserver {version('steptool-env')}\n")
        sys.exit(0)
    try:
        status = _app().cli(prog="toolserver", description=_DESCRIPTION, args=args, config=(FlagCreatePairsOff,))
    except StepToolError as error:
        sys.stderr.write(f"toolserver: {error}\n")
        status = 1
    except KeyboardInterrupt:
        status = 130
    sys.exit(status or 0)


def _app() -> SubcommandApp:
    importing, exporting = SubcommandApp(), SubcommandApp()
    importing.command(import_.stabletoolbench)
    importing.command(import_.complexfuncbench)
    importing.command(import_.archive)
    exporting.command(export.archive)
    exporting.command(export.stabletoolbench)
    app = SubcommandApp()
    app.command(serve)
    app.command(importing, name="import", help="Fill a cache from files.")
    app.command(exporting, name="export", help="Write a cache into files.")
    app.command(verify)
    app.command(stats)
    return app


if __name__ == "__main__":
    main()
