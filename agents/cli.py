"""The command `steptool`."""

import inspect
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from agents.options import Flags
from steptool_env.registry import install_hint
from toolserver.console import (
    FAILED,
    OutputFlags,
    errors_in_one_line,
    escape_unprintable_text,
    run_printed,
    wrong_flags_in_one_line,
)

C = TypeVar("C")

COMMANDS = {
    "data": "fetch, check and import the data of a benchmark",
    "demo": "train two policies against a tool server, in minutes, and compare them",
    "eto": "train a policy to prefer its solved attempts to its failed ones",
    "evaluate": "run an agent through an environment's tasks and report",
    "export": "write episodes as files of ToolBench, OpenAI, ShareGPT or Inspect",
    "mcp": "serve a task to an agent by the Model Context Protocol",
    "new": "write a small project: an agent, a reward, a training configuration, tests",
    "picture": "draw one task before and after training, call by call",
    "push": "upload a checkpoint to the Hugging Face hub, with a model card",
    "report": "compare runs on one page",
    "retrieval": "measure retrievers of APIs: recall and NDCG",
    "sb3": "train Stable-Baselines3's PPO on ToolWorld's numeric form",
    "score": "score recorded episodes with another reward or judge",
    "serve-openenv": "serve an environment to clients of OpenEnv",
    "serve-policy": "serve a policy: chat completions for agents, token ids for rollouts elsewhere",
    "sft": "train a policy on demonstrations",
    "tasks": "show tasks of ToolWorld, one by one or as a table, or one of another benchmark",
    "train": "train a policy online with step-level policy gradients",
    "view": "show runs and episodes in the browser, live",
}
"""Summary of each command. Its module in `agents.commands` is imported when it is called, and has a dataclass
`Command`, whose fields are the flags, with a method `run()`, which returns what `--json` prints."""

_SERVING = frozenset({"mcp", "serve-openenv", "serve-policy", "view"})  # they run until they are stopped

_OUTPUT = ("-q", "--quiet", "--json")
_EXTRAS = dict.fromkeys(("demo", "eto", "push", "sb3", "serve-policy", "sft", "train"), "agents") | {
    "picture": "report",
    "report": "report",
    "view": "view",
}
"""Extra with all packages of a command; of other commands it is the extra of the missing package."""

_USAGE = """usage: steptool COMMAND [flags]

{commands}

Example: steptool evaluate --env StepTool/ToolWorld-v0 --env-args split=validation --agent random --out runs/random
`steptool COMMAND --help` lists the flags of a command, `steptool --version` prints the version.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `steptool`. Errors end it with one line and status 2."""
    if arguments is None:
        sys.path.append(str(Path.cwd()))  # a script's path begins with its own folder; `module:factory` may be here
        warnings.showwarning = _show_warning
        escape_unprintable_text()
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words[0] if words else "--help"
    if name == "--version":
        sys.stdout.write(f"steptool {version('steptool-env')}\n")
        return
    if name not in COMMANDS:
        if name in {"-h", "--help"}:
            sys.stdout.write(_usage())
            return
        close = " or ".join(get_close_matches(name, COMMANDS))
        hint = f"perhaps {close}; " if close else ""
        sys.stderr.write(f"error: no command {name!r}; {hint}`steptool --help` lists the commands\n")
        sys.exit(FAILED)
    with errors_in_one_line(name, lambda module: install_hint(module, _EXTRAS.get(name))):
        if name in _SERVING:
            module = import_module(f"agents.commands.serving.{name.replace('-', '_')}")
            _read(name, module.Command, Flags(module.Command, words[1:])).run()
            return
        module = import_module(f"agents.commands.{name.replace('-', '_')}")
        flags: Flags = module.flags(words[1:]) if hasattr(module, "flags") else Flags(module.Command, words[1:])
        kind: Any = Invocation  # its parameter is known when the program runs
        default = tyro.MISSING if flags.default is None else Invocation(flags.default)
        ahead = sorted(flags.words, key=lambda word: word not in _OUTPUT)  # a parser of `tasks ACTION` knows no others
        called = _read(name, module.Command, Flags(kind[flags.kind], ahead, default))
        run_printed(called.command.run, called.output)


@dataclass(frozen=True)
class Invocation(Generic[C]):
    """A command with the flags of its output."""

    command: Annotated[C, tyro.conf.arg(name="")]
    output: Annotated[OutputFlags, tyro.conf.arg(name="")] = field(default_factory=OutputFlags)


def _read(name: str, command: Any, flags: Flags) -> Any:
    """Read the flags of a command."""
    default = {} if flags.default in (None, tyro.MISSING) else {"default": flags.default}
    with wrong_flags_in_one_line():
        return tyro.cli(
            flags.kind,
            prog=f"steptool {name}",
            description=inspect.getdoc(command),
            args=flags.words,
            **default,
        )


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Write a warning as one line, without the place in the code that Python adds."""
    sys.stderr.write(f"Warning: {message}\n")


def _usage() -> str:
    width = max(map(len, COMMANDS))
    return _USAGE.format(commands="\n".join(f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()))


if __name__ == "__main__":
    main()
