"""`steptool new`."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import tyro
from rich.console import Console

from agents.reporting.console import print_written
from agents.reporting.outputs import check_empty

_FILES = {
    "README.md": "README.md.txt",
    "my_agent.py": "my_agent.py",
    "my_reward.py": "my_reward.py",
    "test_project.py": "test_project.py.txt",  # no module of the package: it imports the project's
    "train.yaml": "train.yaml",
}
"""Files of a project and their names in the package `agents.project`."""

_TEST = "python -m pytest; README.md has the other commands"


@dataclass(frozen=True)
class Command:
    """Write a small project: an agent, a reward for every call, a training configuration and their tests.

    Each file runs as it is. The project's README.md lists the commands.

    Example: steptool new my-project
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]
    """Folder of the project, new or empty."""

    def run(self) -> dict[str, Any]:
        """Write the files. Raises `ConfigurationError` for a folder that is not empty."""
        check_empty(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, source in _FILES.items():
            (self.folder / name).write_bytes((files("agents.project") / source).read_bytes())
        print_written(Console(), self.folder, f"cd {quote(str(self.folder))} && {_TEST}")
        return {"out": self.folder, "files": list(_FILES)}
