"""Model card of a checkpoint on the hub: its training, its settings, its figures, and how to load it."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

_SHOWN = ("is_solved", "return", "calls", "finished")
_RATES = ("pass_rate", "recall", "precision", "calls")

_CARD = """---
{data}
---

# {name}

A policy that calls tools, trained one call at a time with steptool-env {version}.

## Training

{training}

## Figures

{figures}

## Use

```bash
pip install 'steptool-env[agents]'
steptool evaluate --env {env} --agent policy:hf://{repo} --episodes 50 --out runs/evaluation
steptool train --policy.checkpoint hf://{repo} --out runs/further
```

```python
from agents.models.bundle import load_policy

bundle = load_policy("hf://{repo}")  # hf://{repo}@COMMIT for exactly these weights
```

{plain}

## Settings

```yaml
{settings}```
"""

_ADAPTERS = 'It has adapters of `{base}`; PEFT reads them, too: `AutoPeftModelForCausalLM.from_pretrained("{repo}")`.'
_MODEL = 'Transformers reads it, too: `AutoModelForCausalLM.from_pretrained("{repo}")`.'


def model_card(
    repo: str,
    run: Path,
    records: Sequence[Mapping[str, float]],
    state: Mapping[str, Any],
    base: str = "",
    licence: str = "",
) -> str:
    """Return the text of README.md.

    Args:
        repo: Name of the repository.
        run: Folder of the run, with the figures of its evaluation.
        records: Metrics of the run's iterations.
        state: Settings and progress of the checkpoint, see `checkpoint.save`.
        base: Hub name of the base model of its adapters.
        licence: Identifier of a licence, such as `apache-2.0`; empty for none.
    """
    settings, progress = state["settings"], state["progress"]
    env = _environment(settings)
    curve, evaluation = _last_evaluation(records, int(progress["iteration"])), _evaluation(run)
    data = ModelCardData(
        model_name=repo.split("/")[1],
        base_model=base or None,
        library_name="peft" if base else "transformers",
        license=licence or None,
        pipeline_tag="text-generation",
        tags=[
            "steptool-env",
            "reinforcement-learning",
            "tool-use",
            *([settings["algo"]] if "algo" in settings else []),
        ],
        eval_results=_results(env, curve, evaluation),
    )
    return _CARD.format(
        data=data.to_yaml(),
        name=repo.split("/")[1],
        version=version("steptool-env"),
        training=_training(settings, progress, env),
        figures=_figures(curve, evaluation),
        env=env,
        repo=repo,
        plain=(_ADAPTERS if base else _MODEL).format(repo=repo, base=base),
        settings=yaml.safe_dump(dict(settings), sort_keys=False),
    )


def _environment(settings: Mapping[str, Any]) -> str:
    env = settings.get("env") or ""
    return str(env["id"] if isinstance(env, Mapping) else env) or "StepTool/ToolWorld-v0"


def _training(settings: Mapping[str, Any], progress: Mapping[str, Any], env: str) -> str:
    policy = settings.get("policy", {})
    start = policy.get("checkpoint") or policy.get("model", "")
    start = f"started from `{start}`" if start else "with a start that is not recorded"
    if "algo" in settings:
        arguments = settings["env"]["args"]
        words = " ".join(f"{name}={value}" for name, value in arguments.items())
        return (
            f"Online, with the algorithm `{settings['algo']}` in `{env}`{f' ({words})' if words else ''}: "
            f"{progress['iteration']} iterations, {progress['calls']:,} calls, {progress['episodes']:,} episodes, seed "
            f"{settings['seed']}; {start}."
        )
    if "sft" in settings:
        return f"Supervised fine-tuning on demonstrations in `{env}`, {settings['sft']['epochs']} passes; {start}."
    return f"In `{env}`; {start}."


def _last_evaluation(records: Sequence[Mapping[str, float]], iteration: int) -> dict[str, float]:
    """Return the newest `eval/...` of a run up to an iteration, without the prefix."""
    evaluated = [each for each in records if each["iteration"] <= iteration and "eval/is_solved" in each]
    found = evaluated[-1] if evaluated else {}
    return {name: found[f"eval/{name}"] for name in _SHOWN if found.get(f"eval/{name}") is not None}


def _evaluation(run: Path) -> dict[str, Any]:
    """Return metrics.json of `steptool evaluate` in the run's folder `evaluation`; empty without one."""
    path = run / "evaluation" / "metrics.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _figures(curve: Mapping[str, float], evaluation: Mapping[str, Any]) -> str:
    parts = []
    if evaluation:
        shown = {name: evaluation[name] for name in _RATES if isinstance(evaluation.get(name), int | float)}
        low, high = evaluation.get("pass_rate_low"), evaluation.get("pass_rate_high")
        words = (
            f", 95 % interval of the pass rate {low:.3f} to {high:.3f}" if low is not None and high is not None else ""
        )
        panel = f", panel {evaluation['panel']}" if "panel" in evaluation else ""
        parts.append(f"`steptool evaluate`{panel}{words}:\n\n{_table(shown)}")
    if curve:
        parts.append(f"Held-out tasks, evaluated in training at temperature 1:\n\n{_table(curve)}")
    return "\n\n".join(parts) or "None were recorded with this checkpoint."


def _table(values: Mapping[str, float]) -> str:
    rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in values.items())
    return f"| metric | value |\n|---|---|\n{rows}"


def _results(env: str, curve: Mapping[str, float], evaluation: Mapping[str, Any]) -> list[EvalResult] | None:
    """Return the pass rate for the hub's table of results."""
    rate = evaluation.get("pass_rate", curve.get("is_solved"))
    if rate is None or not isfinite(rate):
        return None
    return [
        EvalResult(
            task_type="reinforcement-learning",
            task_name="tool use",
            dataset_type=env,
            dataset_name=env,
            metric_type="pass_rate",
            metric_name="pass rate",
            metric_value=float(rate),
        )
    ]
