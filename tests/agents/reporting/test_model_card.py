"""The model card of a checkpoint: the figures of its own policy, each under the environment that it was measured in."""

import json
from pathlib import Path

import yaml

from agents.reporting.model_card import model_card

_ENV = "StepTool/ToolWorld-v0"
_STATE = {
    "settings": {"algo": "steptool", "seed": 0, "env": {"id": _ENV, "args": {}}, "policy": {"checkpoint": "nano-sft"}},
    "progress": {"iteration": 7, "calls": 90, "episodes": 9},
}


def _add(run: Path, name: str, rate: float, **record: object) -> None:
    (run / name).mkdir()
    (run / name / "metrics.json").write_text(json.dumps({"pass_rate": rate, "episodes": 20, "panel": "0" * 16}))
    (run / name / "run.json").write_text(json.dumps({"command": "steptool evaluate", **record}))


def _results(card: str) -> dict[str, tuple[str, float]]:
    """Return environment and pass rate by name of the data, as the hub reads them."""
    (model,) = yaml.safe_load(card.split("---\n")[1])["model-index"]
    found = ((each["dataset"], each["metrics"][0]["value"]) for each in model["results"])
    return {data["name"]: (data["type"], value) for data, value in found}


def test_figures_of_other_agents_are_no_figures_of_the_policy(tmp_path: Path) -> None:
    _add(tmp_path, "test", 0.25, agent="policy:runs/a", training={"iteration": 7}, evaluation={"env_id": _ENV})
    _add(tmp_path, "ceiling", 1.0, agent="oracle", evaluation={"env_id": _ENV})
    _add(tmp_path, "scored", 0.75, episodes="runs/others")
    card = model_card("user/name", tmp_path, [], _STATE)
    assert _results(card) == {_ENV: (_ENV, 0.25)}
    assert "`test`" in card
    assert not [name for name in ("ceiling", "scored") if f"`{name}`" in card]


def test_every_evaluation_is_of_the_environment_that_it_was_played_in(tmp_path: Path) -> None:
    for name, env, rate in (("home", _ENV, 0.5), ("abroad", "StepTool/BFCL-v0", 0.125)):
        _add(tmp_path, name, rate, agent="policy:runs/a", training={"iteration": 7}, evaluation={"env_id": env})
    assert _results(model_card("user/name", tmp_path, [], _STATE)) == {
        f"{_ENV}, home": (_ENV, 0.5),
        "StepTool/BFCL-v0, abroad": ("StepTool/BFCL-v0", 0.125),
    }
