"""The command `steptool`."""

import inspect
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tyro

from steptool_env.errors import StepToolError
from steptool_env.registry import install_hint

COMMANDS = {
    "data": "fetch, check and import the data of a benchmark",
    "demo": "train two policies against a tool server, in minutes, and compare them",
    "eto": "train a policy to prefer its solved attempts to its failed ones",
    "evaluate": "run an agent through an environment's tasks and report",
    "export": "write episodes as files of ToolBench, OpenAI, ShareGPT or Inspect",
    "mcp": "serve a task to an agent by the Model Context Protocol",
    "new": "write a small project: an agent, a reward, a training configuration, tests",
    "push": "upload a checkpoint to the Hugging Face hub, with a model card",
    "report": "compare runs on one page",
    "retrieval": "measure retrievers of APIs: recall and NDCG",
    "sb3": "train Stable-Baselines3's PPO on ToolWorld's numeric twin",
    "score": "score recorded episodes with another reward or judge",
    "serve-openenv": "serve an environment to clients of OpenEnv",
    "serve-policy": "serve a policy that samples for rollouts on another machine",
    "sft": "train a policy on demonstrations",
    "tasks": "show tasks of ToolWorld, one by one or as a table, or one of ComplexFuncBench",
    "train": "train a policy online with step-level policy gradients",
    "view": "show runs and episodes in the browser, live",
}
"""Summary of each command. Its module in `agents.commands` is imported when it is called, and has a dataclass
`Command`, whose fields are the flags, with a method `run()`."""
_SERVING = frozenset({"mcp", "serve-openenv", "serve-policy", "view"})  # they run until they are stopped

_EXTRAS = dict.fromkeys(("demo", "eto", "push", "sb3", "serve-policy", "sft", "train"), "agents") | {
    "report": "report",
    "view": "view",
}
"""Extra with all packages of a command; of other commands it is the extra of the missing package."""

_USAGE = """usage: steptool COMMAND [flags]

{commands}

Example: steptool evaluate --env StepTool/ToolWorld-v0 --agent random --out runs/random
`steptool COMMAND --help` lists the flags of a command, `steptool --version` prints the version.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `steptool`. Errors of this project end it with one line and status 2."""
    if arguments is None:
        sys.path.append(str(Path.cwd()))  # a script's path begins with its own folder; `module:factory` may be here
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words[0] if words else "--help"
    if name == "--version":
        sys.stdout.write(f"steptool {version('steptool-env')}\n")
        return
    if name not in COMMANDS:
        sys.stdout.write(_usage()) if name in {"-h", "--help"} else sys.exit(
            f"error: no command {name!r}\n\n{_usage()}"
        )
        return
    try:
        folder = "agents.commands.serving" if name in _SERVING else "agents.commands"
        _read(import_module(f"{folder}.{name.replace('-', '_')}"), name, words[1:]).run()
    except StepToolError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except ModuleNotFoundError as error:
        sys.stderr.write(f"error: {name} needs {error.name}: {install_hint(error.name or '', _EXTRAS.get(name))}\n")
        sys.exit(2)
    except OSError as error:
        if error.filename is None:  # no file of the user's
            raise
        sys.stderr.write(f"error: {error.filename}: {error.strerror}; give another path\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _read(module: Any, name: str, words: Sequence[str]) -> Any:
    """Read the flags of a command, by the module's `parse` where it has one because its defaults depend on a file."""
    if hasattr(module, "parse"):
        return module.parse(words)
    description = inspect.getdoc(module.Command)
    return tyro.cli(module.Command, prog=f"steptool {name}", description=description, args=words)


def _usage() -> str:
    width = max(map(len, COMMANDS))
    return _USAGE.format(commands="\n".join(f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()))


if __name__ == "__main__":
    main()
