"""Model card of a checkpoint on the hub: its training, its settings, its figures, and how to load it."""

import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from huggingface_hub import EvalResult, ModelCardData

from agents.evaluation.results import read_held_out, read_object
from agents.models.checkpoint import without_places
from agents.options import env_args_words
from steptool_env.metrics import HIGH, LOW, wilson_interval

_EVALUATED = "eval/is_solved"
_SHOWN = ("is_solved", "return", "calls", "finished")
_RATES = ("pass_rate", "pass_given_finish", "recall", "precision", "calls")

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
steptool evaluate --agent policy:hf://{repo} --episodes 50 --out runs/evaluation {words}
steptool train --policy.checkpoint hf://{repo} --out runs/further {words}
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
        run: Folder of the run. The folders in it that `steptool evaluate` wrote for a policy are evaluations of its
            checkpoints; those of other agents, and of `steptool score`, are left out.
        records: Metrics of the run's iterations.
        state: Settings and progress of the checkpoint, see `checkpoint.save`.
        base: Hub name of the base model of its adapters.
        licence: Identifier of a licence, such as `apache-2.0`; empty for none.
    """
    settings, progress = state["settings"], state["progress"]
    env = _environment(settings)
    iteration = int(progress["iteration"])
    curve, evaluations = _last_evaluation(records, iteration), _evaluations(run, iteration)
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
        eval_results=_results(env, curve, evaluations),
    )
    return _CARD.format(
        data=data.to_yaml(),
        name=repo.split("/")[1],
        version=version("steptool-env"),
        training=_training(settings, progress, env),
        figures=_figures(curve, evaluations, read_held_out(run), settings),
        words=shlex.join(["--env", env, *env_args_words(_env_args(settings))]),
        repo=repo,
        plain=(_ADAPTERS if base else _MODEL).format(repo=repo, base=base),
        settings=yaml.safe_dump(dict(settings), sort_keys=False),
    )


def _environment(settings: Mapping[str, Any]) -> str:
    env = settings.get("env") or ""
    return str(env["id"] if isinstance(env, Mapping) else env) or "StepTool/ToolWorld-v0"


def _env_args(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the environment of a training, without the server that answered its calls."""
    env = settings.get("env")
    arguments = env["args"] if isinstance(env, Mapping) else settings.get("env_args", {})
    return {name: value for name, value in arguments.items() if name != "server_url"}


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


class _Evaluation(NamedTuple):
    """Result of `steptool evaluate`: name of its folder, its metrics with the panel, and its settings."""

    name: str
    metrics: Mapping[str, Any]
    run: Mapping[str, Any]


def _last_evaluation(records: Sequence[Mapping[str, float]], iteration: int) -> dict[str, float]:
    """Return the newest evaluations in training of a run, up to an iteration: `eval/...` and pass rates of panels."""
    kept = [each for each in records if each["iteration"] <= iteration]
    found: dict[str, float] = {}
    for record in kept:
        if record.get(_EVALUATED) is not None:
            found |= {f"eval/{name}": value for name in _SHOWN if (value := record.get(f"eval/{name}")) is not None}
        found |= {name: value for name, value in record.items() if name.endswith("/pass_rate") and value is not None}
    return found


def _evaluations(run: Path, iteration: int) -> list[_Evaluation]:
    """Return the evaluations of policies in a run's folder, without those that name another iteration."""
    found = []
    for path in sorted(run.glob("*/metrics.json")):
        settings = read_object(path.parent / "run.json")
        training = settings.get("training") or {}
        is_policy = bool(training) or str(settings.get("agent")).startswith("policy:")
        if is_policy and training.get("iteration", iteration) == iteration:
            found.append(_Evaluation(path.parent.name, read_object(path), settings))
    return found


def _figures(
    curve: Mapping[str, float], evaluations: Sequence[_Evaluation], held_out: str, settings: Mapping[str, Any]
) -> str:
    parts = [_evaluated(each) for each in evaluations]
    if curve:
        intervals = (
            {_EVALUATED: wilson_interval(curve[_EVALUATED], int(settings.get("eval_episodes") or 0))}
            if (_EVALUATED in curve)
            else {}
        )
        panel = f", panel {held_out}" if held_out else ""
        parts.append(f"Held-out tasks, evaluated in training{panel}:\n\n{_table(curve, intervals)}")
    return "\n\n".join(parts) or "None were recorded with this checkpoint."


def _evaluated(evaluation: _Evaluation) -> str:
    """Return command, panel and metrics of an evaluation."""
    metrics = evaluation.metrics
    shown = {name: metrics[name] for name in _RATES if isinstance(metrics.get(name), int | float)}
    intervals = {
        name: (metrics[name + LOW], metrics[name + HIGH]) for name in shown if metrics.get(name + LOW) is not None
    }
    panel = f", panel {metrics['panel']}" if "panel" in metrics else ""
    count = f", {metrics['episodes']:,.0f} episodes" if "episodes" in metrics else ""
    # The first word is the path of a program on the machine that ran it.
    words = without_places(str(evaluation.run.get("command", ""))).partition(" ")[2]
    command = f"\n\n```bash\nsteptool {words}\n```" if words else ""
    return f"`{evaluation.name}`, `steptool evaluate`{panel}{count}:{command}\n\n{_table(shown, intervals)}"


def _table(values: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> str:
    rows = [f"| {name} | {value:.3f} | {_interval(intervals.get(name))} |" for name, value in values.items()]
    return "\n".join(["| metric | value | 95 % interval |", "|---|---|---|", *rows])


def _interval(bounds: tuple[float, float] | None) -> str:
    return f"{bounds[0]:.3f} to {bounds[1]:.3f}" if bounds is not None and isfinite(bounds[0]) else ""


def _results(env: str, curve: Mapping[str, float], evaluations: Sequence[_Evaluation]) -> list[EvalResult] | None:
    """Return the pass rates for the hub's table of results: of the evaluations, else of the one in training."""
    rates = [(_evaluated_in(each) or env, each.name, each.metrics.get("pass_rate")) for each in evaluations]
    if not evaluations:
        rates = [(env, name, value) for name, value in curve.items() if name.endswith(("/is_solved", "/pass_rate"))]
    return [
        EvalResult(
            task_type="reinforcement-learning",
            task_name="tool use",
            dataset_type=place,
            dataset_name=place if len(rates) == 1 else f"{place}, {name}",
            metric_type="pass_rate",
            metric_name="pass rate",
            metric_value=float(rate),
        )
        for place, name, rate in rates
        if rate is not None and isfinite(rate)
    ] or None


def _evaluated_in(evaluation: _Evaluation) -> str:
    """Return the environment of an evaluation, which may be another than that of the training."""
    return str((evaluation.run.get("evaluation") or {}).get("env_id", ""))
