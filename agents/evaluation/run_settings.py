"""Settings of run folders without their seeds: runs whose settings differ by the seed alone differ by chance."""

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from agents.evaluation.results import read_object, read_run_record
from steptool_env.errors import DataError
from steptool_env.options import is_number

_OF_THE_PLACE = ("out", "server_url")
"""Settings that change no result."""
_ONLINE, _DATA, _STOPPED = "algo", "data", "stopped"
"""Settings: of every training of `steptool train`; of those of `sft` and `eto`, digest of the data that were given,
empty where they follow from the settings; and true for a training that was ended early."""
_SEEDED = ("sft", "preference")
"""Settings that have a seed of their own."""


class RunSettings(NamedTuple):
    """Digest of a run's settings without the seeds, empty where its folder has none; and its seed as text.

    The seed of a policy's evaluation is that of its training, of another agent's that of the evaluation.
    """

    digest: str = ""
    seed: str = ""


def read_run_settings(folder: Path) -> RunSettings:
    """Return the settings of the run in a folder: of an evaluation by its run.json, else of a training.

    Raises:
        DataError: A file of settings has another content.
    """
    if run := read_run_record(folder):
        return _of_evaluation(run)
    config = read_training(folder)
    return RunSettings(training_digest(config), _seed(config)) if config else RunSettings()


def read_training(folder: Path) -> dict[str, Any]:
    """Return the settings of the training in a folder, from the file that has them; empty without one."""
    planned: dict[str, Any] = read_object(folder / "plan.json").get("config") or {}
    return planned or _yaml(folder / "config.yaml") or _yaml(folder / "settings.yaml")


class _PlainLoader(yaml.SafeLoader):
    """Loader of plain values without aliases, a few of which make a value too large for any memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("the file has aliases, which no settings file of this project has")
        return super().compose_node(parent, index)


def _yaml(path: Path) -> dict[str, Any]:
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), _PlainLoader) if path.is_file() else None  # noqa: S506
    except (yaml.YAMLError, ValueError) as error:
        raise DataError(f"{path}: is not plain YAML ({' '.join(str(error).split())}); correct or remove it") from None
    return value if isinstance(value, dict) else {}


def training_digest(config: Mapping[str, Any]) -> str:
    """Return a digest of the settings of a training without its seeds, its folder and the address of its tools."""
    kept: dict[str, Any] = _kept(config, "seed")
    return _digest(kept | {name: _kept(config[name], "seed") for name in _SEEDED if name in config})


def _of_evaluation(run: Mapping[str, Any]) -> RunSettings:
    evaluation = run.get("evaluation") or {}
    if not evaluation:
        return RunSettings()
    agent, seed = run.get("agent"), _seed(evaluation)
    training = run.get("training") or {}
    if training or str(agent).startswith("policy:"):
        settings, calls = training.get("settings") or {}, training.get("calls")
        # Of one training, evaluations under several seeds say nothing about other trainings.
        seed = _seed(settings)
        # A finished training is one point, though its seeds end at other iterations.
        finished = is_number(calls, 0) and is_number(settings.get("calls"), 1, calls)
        # Of settings without their data, and of one that was ended somewhere, the path alone tells policies apart.
        comparable = _ONLINE in settings or (_DATA in settings and not settings.get(_STOPPED))
        place = "" if comparable else agent
        agent = [training_digest(settings), "finished" if finished else training.get("iteration"), place]
    parts = [agent, run.get("agent_args"), run.get("strategy"), _kept(evaluation, "seed", "slots"), run.get("settings")]
    return RunSettings(_digest(parts), seed)


def _seed(settings: Mapping[str, Any]) -> str:
    """Return the seed of settings; where a part has one too, both."""
    parts = [part for name in _SEEDED if isinstance(part := settings.get(name), Mapping)]
    policy = settings.get("policy") or {}
    if settings.get(_DATA) and policy.get("checkpoint") and not policy.get("lora_rank"):
        return "/".join(str(part.get("seed", "")) for part in parts)  # that of demonstrations and fresh weights is idle
    return "/".join(str(each.get("seed", "")) for each in (settings, *parts) if "seed" in each)


def _kept(value: Any, *left_out: str) -> Any:
    """Return settings without those of `_OF_THE_PLACE` at any depth, and without `left_out` at the first."""
    if isinstance(value, Mapping):
        return {name: _kept(each) for name, each in value.items() if name not in (*_OF_THE_PLACE, *left_out)}
    return [_kept(each) for each in value] if isinstance(value, list | tuple) else value


def _digest(value: Any) -> str:
    return blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()
