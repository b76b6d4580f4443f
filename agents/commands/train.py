"""`steptool train`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console

from agents.errors import CheckpointError, ConfigurationError
from agents.evaluation.results import write_held_out
from agents.options import Flags, as_shown, env_args_words, shown_only
from agents.reporting.console import TrainingProgressBar, print_written
from agents.rollout.config import LOCAL_ENGINES
from agents.training.config import TrainConfig, draft_config, read_yaml
from agents.training.metrics_log import MetricsLog, read_metrics

if TYPE_CHECKING:
    from agents.distributed.processes import Processes
    from agents.evaluation.policy_evaluation import PolicyEvaluation
    from agents.models.bundle import PolicyBundle
    from agents.models.checkpoint import Counters
    from agents.rollout.engine import RolloutEngine
    from agents.rollout.policy_agent import TrainingEnv
    from agents.training.trainer import OnIteration, OnlineTrainer


@dataclass(frozen=True)
class Command:
    """Train a policy online, in an environment.

    --algo sets defaults, the file overrides them, and flags override the file. --help lists the settings that most runs
    change, --help-all lists all.

    Example: steptool train --policy.checkpoint nano-sft --env-args split=practice tools=26
    --eval-args split=validation --calls 3000 --out runs/first

    With a file, as `steptool new` writes one: steptool train --config train.yaml --calls 4000 --out runs/second

    Continue a run with its settings: steptool train --resume --out runs/first

    On several GPUs: torchrun --nproc-per-node 4 --no-python steptool train --policy.device cuda ...
    """

    settings: Annotated[TrainConfig, tyro.conf.arg(name="")]
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """YAML file of settings with the names of the flags (`optim: {lr: 1e-4}` for --optim.lr)."""
    resume: bool = False
    """Continue from the newest checkpoint in `out`, with the settings of its run. Only those of
    `agents.training.resumption.MAY_CHANGE` may have other values."""

    def run(self) -> dict[str, Any] | None:
        """Train and show the pass rate and the speed. Return the last metrics, in the main process."""
        from agents.distributed.processes import join
        from agents.training.resumption import check_resumed, stop_on_interrupt

        config = self.settings
        resumed = _initial_checkpoint(Path(config.out), resume=self.resume)
        if resumed is not None:
            check_resumed(config, resumed)
        with ExitStack() as stack:
            processes = join(config.policy.device, sharded=config.shard)
            stack.callback(processes.leave)
            trainer = _trainer(config, resumed, processes, stack)
            stop = stack.enter_context(stop_on_interrupt("the iteration"))
            done = trainer.run(_progress_bar(config, stack) if processes.main else None, stop)
        if stop() and not trainer.over:
            if processes.main:
                sys.stderr.write(
                    f"stopped after iteration {done.iteration}; wrote {config.out}/checkpoint-{done.iteration}; "
                    f"continue with `steptool train --resume --out {shlex.quote(config.out)}`\n"
                )
            sys.exit(130)
        if processes.main:
            print_written(Console(), config.out, _evaluate_command(config))
        processes.end()
        if not processes.main:
            return None
        last = {name: value for record in read_metrics(Path(config.out)) for name, value in record.items()}
        return {"out": config.out, "iteration": done.iteration, "calls": done.calls, "metrics": last}


SAMPLER_KL = 0.05
"""Divergence of the sampler's policy from the trainer's above which a run warns, in nats per token. Rounding to half
precision makes a tenth of it."""
SHOWN = (
    *("config", "resume", "algo", "seed", "calls", "episodes", "out", "eval_every", "eval_episodes"),
    *("policy.model", "policy.checkpoint", "policy.lora_rank", "policy.device"),
    *("env.id", "env.args", "env.reward", "env.num_envs", "env.eval_args"),
    *("algorithm.advantage", "algorithm.group_size", "algorithm.gamma", "optim.lr"),
)
"""Settings that `--help` lists; `--help-all` lists all."""


def flags(words: Sequence[str]) -> Flags:
    """Return the flags over a file over the algorithm's defaults, or over the settings of a resumed run."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", type=Path)
    early.add_argument("--algo")
    early.add_argument("--out", type=Path)
    early.add_argument("--resume", action="store_true")
    known, _ = early.parse_known_args(words)
    file = read_yaml(known.config) if known.config else {}
    if known.resume:
        from agents.training.resumption import stored_config

        out = known.out or Path(file.get("out", TrainConfig.out))
        base = stored_config(_newest(out), {**file, "out": str(out)})
    else:
        base = draft_config({**file, **({"algo": known.algo} if known.algo else {})})
    if "--help-all" in words:
        return Flags(Command, ["--help"], Command(base, known.config))
    if {"-h", "--help"} & set(words):
        kind = shown_only(TrainConfig, SHOWN)
        settings = Annotated[kind, tyro.conf.arg(name="")]  # type: ignore[valid-type]
        listed = make_dataclass("Command", [("settings", settings)], bases=(Command,), frozen=True)
        return Flags(listed, ["--help"], listed(as_shown(kind, base), known.config))
    return Flags(Command, words, Command(base, known.config))


def _trainer(config: TrainConfig, resumed: Path | None, processes: Processes, stack: ExitStack) -> OnlineTrainer:
    """Return the trainer of a run with all that it needs, which `stack` closes."""
    from agents.gateway.gateway import Gateway
    from agents.models.bundle import build_policy
    from agents.models.checkpoint import load_config, resolve_checkpoint
    from agents.rollout.curriculum import open_training_pool
    from agents.rollout.engine import make_engine
    from agents.rollout.policy_agent import training_env
    from agents.training.trainer import OnlineTrainer

    if processes.count > 1 and config.rollout.engine not in LOCAL_ENGINES:
        raise ConfigurationError(
            f"rollout.engine={config.rollout.engine} is for one process, for which all episodes are sampled"
        )
    policy = replace(config.policy, device=processes.device)
    if policy.checkpoint:
        folder = resolve_checkpoint(policy.checkpoint)
        if processes.main and resumed is None:
            _warn_of_other_world(config, training_env(load_config(folder)))
        policy = replace(policy, checkpoint=str(folder))
    bundle = build_policy(policy, seed=config.seed)
    pool = stack.enter_context(closing(open_training_pool(config.env)))
    engine = stack.enter_context(closing(make_engine(config.rollout, bundle, config.sampling, Path(config.out))))
    evaluation = _evaluation(config, bundle, engine) if processes.main else None
    log = _log(config, resumed, stack) if processes.main else None
    if evaluation is not None:
        write_held_out(Path(config.out), evaluation.panel)
    gateway = None
    if config.rollout.harness:
        gateway = stack.enter_context(closing(Gateway(config.rollout.harness, config.rollout.harness_seconds)))
    trainer = OnlineTrainer(
        config, bundle, pool, evaluation=evaluation, log=log, engine=engine, gateway=gateway, processes=processes
    )
    if resumed is not None:
        trainer.resume(resumed)
    return trainer


def _warn_of_other_world(config: TrainConfig, trained: TrainingEnv | None) -> None:
    from agents.evaluation.evaluate import Evaluation
    from agents.evaluation.training_world import world_warning

    name = Path(config.policy.checkpoint).name
    if warning := world_warning(name, trained, Evaluation(config.env.id, config.env.args), "trained further"):
        _warn(warning)


def _initial_checkpoint(out: Path, *, resume: bool) -> Path | None:
    """Return the checkpoint to resume from. Refuse a folder with checkpoints or metrics for a new run."""
    from agents.models import checkpoint

    if resume:
        return _newest(out)
    if found := checkpoint.newest(out):
        raise CheckpointError(
            f"{found} is of an earlier run; choose another --out, continue with --resume, or remove it"
        )
    if (log := out / "metrics.jsonl").is_file() and log.stat().st_size:
        raise CheckpointError(f"{log} is of an earlier run without a checkpoint; choose another --out, or remove it")
    return None


def _newest(out: Path) -> Path:
    from agents.models import checkpoint

    found = checkpoint.newest(out)
    if found is None:
        raise CheckpointError(f"{out} holds no checkpoint to resume from; leave out --resume to start")
    return found


def _log(config: TrainConfig, resumed: Path | None, stack: ExitStack) -> MetricsLog:
    """Open the log of the run, cut at the checkpoint that it resumes from, and write the configuration beside it."""
    import yaml

    from agents.models import checkpoint

    out = Path(config.out)
    keep = checkpoint.load_counters(resumed).iteration if resumed else None
    log = MetricsLog(out, loggers=config.logger, settings=asdict(config), keep_until=keep)
    stack.callback(log.close)
    (out / "config.yaml").write_text(yaml.safe_dump(asdict(config), sort_keys=False), encoding="utf-8")
    return log


def _progress_bar(config: TrainConfig, stack: ExitStack) -> OnIteration:
    """Start a progress line of the run, and warn once if the sampler's policy is not the trainer's."""
    shown = stack.enter_context(TrainingProgressBar(config.algo))
    is_warned = config.rollout.max_staleness > 0  # older weights sample then

    def report(done: Counters, metrics: dict[str, float]) -> None:
        nonlocal is_warned
        shown.report_rollout(done.calls, config.calls, metrics)
        if not is_warned and (divergence := metrics.get("train/sampler_kl", 0.0)) > SAMPLER_KL:
            is_warned = True
            _warn(
                f"Warning: rollout.engine={config.rollout.engine} samples from another distribution than is trained: "
                f"train/sampler_kl is {divergence:.2g} nats per token, so gradients are biased; use "
                "policy.dtype=float32, or a model of another architecture"
            )

    return report


def _warn(text: str) -> None:
    Console(stderr=True).print(text, style="yellow", highlight=False, soft_wrap=True)


def _evaluation(config: TrainConfig, bundle: PolicyBundle, engine: RolloutEngine) -> PolicyEvaluation | None:
    if not config.eval_every:
        return None
    from agents.evaluation.policy_evaluation import PolicyEvaluation, evaluation_of

    evaluation = evaluation_of(config.env, config.env.eval_args, config.eval_episodes, config.seed)
    remote = None if config.rollout.engine in ("local", "ray") else engine
    return PolicyEvaluation(evaluation, bundle, config.sampling, remote)


def _evaluate_command(config: TrainConfig) -> str:
    """Return the command that evaluates the run's policy on its evaluation tasks."""
    arguments = {**config.env.args, **config.env.eval_args}
    words = ["steptool", "evaluate", "--env", config.env.id, "--agent", f"policy:{config.out}"]
    words += ["--episodes", str(config.eval_episodes), "--out", f"{config.out}/evaluation"]
    return shlex.join([*words, *env_args_words(arguments)])
