"""Run folders for tests of the page, and what a page says."""

from pathlib import Path
from typing import Any

from agents.commands.evaluate import Command
from agents.view.workspace import Workspace

HOSTILE = "</pre><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\"'{{ 7 * 7 }}"


def evaluate(out: Path, *env_args: str, agent: str = "greedy-docs", episodes: int = 6, **more: Any) -> Path:
    """Run `steptool evaluate` in ToolWorld, or in the environment `env`."""
    env = more.pop("env", "StepTool/ToolWorld-v0")
    Command(env=env, agent=agent, out=out, env_args=(env_args,), episodes=episodes, **more).run()
    return out


def open_workspace(root: Path, cache: Path) -> Workspace:
    """A workspace with all episodes in its index, without a thread."""
    workspace = Workspace([root], cache / "view.sqlite")
    workspace.refresh()
    return workspace
