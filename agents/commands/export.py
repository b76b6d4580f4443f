"""`steptool export`."""

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from agents.chat.conversations import openai_record, sharegpt_record
from agents.evaluation.results import recorded_episodes
from steptool_env.errors import ConfigurationError
from steptool_env.metrics import result_of, usable
from steptool_env.stabletoolbench.sample import SAMPLE_NAME, is_sample
from steptool_env.trajectories.converted import converted_sets
from steptool_env.trajectories.toolbench_export import answer_files, method_of, write_answers
from steptool_env.types import Trajectory

_LINES: dict[str, Callable[[Trajectory], dict[str, Any]]] = {"openai": openai_record, "sharegpt": sharegpt_record}

_NEXT = {
    "inspect": "inspect view --log-dir {}",
    "openai": "give {}/episodes.jsonl to OpenAI's fine-tuning, or to a trainer that reads its chat format",
    "sharegpt": "give {}/episodes.jsonl to a trainer that reads ShareGPT's conversations",
    "toolbench": "give {}/model_predictions_converted to ToolEval's evaluators",
}
"""Use of the files by their layout; `{}` is the output folder."""


@dataclass(frozen=True)
class Command:
    """Write the episodes of a run as files of other programs.

    toolbench: answer/<run>/<set>/<id>_<method>.json, ToolBench's answer files with the whole search, and
    model_predictions_converted/<run>/<set>.json, what ToolEval's converter makes of them, for its evaluators. They hold
    one episode per query: a run with several is refused.
    openai: episodes.jsonl, OpenAI's chat fine-tuning format. sharegpt: episodes.jsonl, ShareGPT's conversations.
    inspect: <suite>.eval, logs of Inspect with step rewards as scores, for `inspect view` (extra `inspect`).
    Episodes that were lost to the tool server are left out.

    Example: steptool export toolbench runs/dfsdt --out exported
    """

    to: Annotated[Literal["toolbench", "openai", "sharegpt", "inspect"], tyro.conf.Positional]
    """Layout of the files."""
    run_path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of a run, or a file of episodes, as `steptool score` takes them."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Output folder; files of the same names in it are an error."""
    name: Annotated[str, tyro.conf.arg(metavar="NAME")] = ""
    """Name of the run in ToolBench's layout; by default that of its folder, with _cot or _dfs at the end."""
    solved: bool = False
    """Write solved episodes only, such as demonstrations for a fine-tuning."""

    def run(self) -> dict[str, Any]:
        """Write the files."""
        episodes = usable(recorded_episodes(self.run_path))
        if self.solved:
            episodes = [episode for episode in episodes if result_of(episode).passed == 1]
        if not episodes:
            raise ConfigurationError(f"{self.run_path}: has no {'solved ' if self.solved else ''}episode to export")
        write = {"toolbench": self._toolbench, "inspect": self._inspect}.get(self.to, self._lines)
        written = write(episodes)
        for path, count in written.items():
            Console().print(f"wrote {path} ({count} episodes)", highlight=False, soft_wrap=True, markup=False)
        line = f"next: {_NEXT[self.to].format(shlex.quote(str(self.out)))}"
        Console().print(line, highlight=False, soft_wrap=True, markup=False)
        return {"episodes": len(episodes), "wrote": list(written)}

    def _toolbench(self, episodes: Sequence[Trajectory]) -> dict[Path, int]:
        """Return the number of episodes of each file or folder."""
        if not all(episode.task.tools for episode in episodes):
            raise ConfigurationError(
                f"{self.run_path}: its tasks have no functions, which ToolBench's files list; export trajectories"
            )
        sets = _by_suite(episodes)
        if len({*map(_last, sets)}) < len(sets):
            raise ConfigurationError(
                f"{self.run_path}: ToolBench's layout has one file per query set, and two of {', '.join(sets)} "
                "have the same last part; export them one by one"
            )
        for chosen in sets.values():
            answer_files(chosen)  # raises for a second episode of a query before anything is written
        name = self._method(episodes)
        answers = {suite: self._unused(f"answer/{name}/{_last(suite)}") for suite in sets}
        converted = {suite: self._unused(f"model_predictions_converted/{name}/{_last(suite)}.json") for suite in sets}
        for suite, folder in answers.items():
            write_answers(folder, sets[suite])
        for suite, content in converted_sets(episodes).items():
            converted[suite].parent.mkdir(parents=True, exist_ok=True)
            converted[suite].write_text(json.dumps(content, indent=2), encoding="utf-8")
        return {path: len(sets[suite]) for suite in sets for path in (answers[suite], converted[suite])}

    def _inspect(self, episodes: Sequence[Trajectory]) -> dict[Path, int]:
        from steptool_env.integrations.inspect_ai import run_facts, write_log

        facts = run_facts(self.run_path)
        facts = replace(facts, name=self.name or facts.name)
        sets = _by_suite(episodes)
        files = {suite: self._unused(f"{_file_name(suite)}.eval") for suite in sets}
        self.out.mkdir(parents=True, exist_ok=True)
        for suite, file in files.items():
            write_log(file, suite, sets[suite], facts)
        return {file: len(sets[suite]) for suite, file in files.items()}

    def _lines(self, episodes: Sequence[Trajectory]) -> dict[Path, int]:
        file = self._unused("episodes.jsonl")
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(_LINES[self.to](episode)) for episode in episodes]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return {file: len(lines)}

    def _method(self, episodes: Sequence[Trajectory]) -> str:
        """Return the name of the run: ToolEval's converter tells CoT from DFS by a part of it."""
        kinds = {"dfs" if method_of(episode).startswith("DFS") else "cot" for episode in episodes}
        if len(kinds) > 1:
            raise ConfigurationError(f"{self.run_path}: has searches of CoT and of DFS; export them one by one")
        (kind,) = kinds
        name = self.name or self.run_path.resolve().stem
        name = name if kind in name.lower() else f"{name}_{kind}"
        name = f"{SAMPLE_NAME}_{name}" if all(is_sample(episode.task.suite) for episode in episodes) else name
        if not re.fullmatch(r"[\w.@+-]+", name) or (kind == "dfs" and re.search("cot|CoT", name)):
            raise ConfigurationError(
                f"name={name!r}: must be a folder's name, and of a DFS search without `cot`, by which ToolEval's "
                "converter reads the other; give --name"
            )
        return name

    def _unused(self, place: str) -> Path:
        path = self.out / place
        if path.exists():
            raise ConfigurationError(f"{path} exists; give another --out, or remove it to export again")
        return path


def _by_suite(episodes: Sequence[Trajectory]) -> dict[str, list[Trajectory]]:
    sets: dict[str, list[Trajectory]] = {}
    for episode in episodes:
        sets.setdefault(episode.task.suite, []).append(episode)
    return sets


def _last(suite: str) -> str:
    """Return the last part of a suite's name as the name of a file."""
    return _file_name(suite.rpartition("/")[2])


def _file_name(name: str) -> str:
    """Return a name as that of a file, which leads to no other folder."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".") or "suite"
