"""Entry point of the command `steptool`: check that `agents` is the package of this distribution, then run it."""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path


def main() -> None:
    """Run `steptool`."""
    try:
        check_import_name()
    except ImportError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    import_module("agents.cli").main()


def check_import_name() -> None:
    """Raise `ImportError` where another distribution, such as OpenAI's Agents SDK, provides the package `agents`."""
    ours = Path(__file__).resolve().parents[1] / "agents"
    spec = find_spec("agents")
    found = Path(spec.origin).resolve().parent if spec and spec.origin else ours
    others = [path.name.split("-")[0] for path in found.parent.glob("*.dist-info") if _provides_agents(path)]
    if found == ours and not others:
        return
    names = " and ".join(others) or "another package"
    raise ImportError(
        f"the import name `agents` of steptool-env is also that of {names} ({found}), so that only one of them works: "
        "install steptool-env in an environment of its own (python -m venv), or uninstall the other and run "
        "`pip install --force-reinstall --no-deps steptool-env`"
    )


def _provides_agents(info: Path) -> bool:
    """Return whether the files of an installed distribution, other than this one, include a package `agents`."""
    record = info / "RECORD"
    if info.name.startswith("steptool_env-") or not record.exists():
        return False
    return b"\nagents/__init__.py," in b"\n" + record.read_bytes()
