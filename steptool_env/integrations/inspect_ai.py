"""Episodes as `.eval` logs of Inspect, written by its own writer.

A suite of a run is a log, an episode a sample. Each step is a model event, a tool event and an intermediate score event
with the reward of the step and its terms. Times and ids come from the run, so that equal runs give equal logs.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any

from inspect_ai.dataset import Sample
from inspect_ai.event import Event, InfoEvent, ModelEvent, SampleInitEvent, ScoreEvent, ToolEvent
from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalMetric,
    EvalResults,
    EvalSample,
    EvalScore,
    EvalSpec,
    EvalStats,
    write_eval_log,
)
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    GenerateConfig,
    ModelOutput,
)
from inspect_ai.scorer import SampleScore, Score, mean, stderr
from inspect_ai.tool import ToolCall, ToolCallError, ToolInfo, ToolParams

from steptool_env.episodes.prompts import make_prompt, stated_budget
from steptool_env.episodes.records import read_trajectory, trajectory_record
from steptool_env.formats import make_format
from steptool_env.metrics import result_of
from steptool_env.types import Step, Trajectory
from toolserver.calls.json_parsing import parse
from toolserver.catalog.api_schema import StatusCode

SOLVED, RETURN, STEP_REWARDS = "solved", "return", "step_rewards"
"""Names of the scores of a sample: verdict of the judge (0 to 1), sum of the rewards, and rewards of the steps."""

_RIGHT = (StatusCode.OK, StatusCode.FINAL_ANSWER, StatusCode.GAVE_UP)
_EMPTY_PARAMETERS = {"type": "object", "properties": {}}


@dataclass(frozen=True)
class RunFacts:
    """Facts of a run for its logs.

    Attributes:
        name: Name of the run.
        agent: Name of the agent.
        created: Time of the run, in UTC.
        settings: Content of run.json; empty where the run has none.
    """

    name: str
    agent: str
    created: datetime
    settings: Mapping[str, Any]


def run_facts(run_path: Path) -> RunFacts:
    """Return the facts of a run folder or an episodes file: of its run.json, else its name and the file's time."""
    folder = run_path if run_path.is_dir() else run_path.parent
    path = folder / "run.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    try:
        created = datetime.strptime(settings["date"], "%Y-%m-%d %H:%M UTC").replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError):
        created = datetime.fromtimestamp(int(run_path.stat().st_mtime), UTC)
    return RunFacts(folder.resolve().name, str(settings.get("agent", "unknown")), created, settings)


def write_log(path: Path, suite: str, episodes: Sequence[Trajectory], facts: RunFacts) -> None:
    """Write the episodes of one suite to `path`, which ends in `.eval`."""
    write_eval_log(eval_log(suite, episodes, facts), str(path), format="eval")


def eval_log(suite: str, episodes: Sequence[Trajectory], facts: RunFacts) -> EvalLog:
    """Return the log of one suite. Episodes of the same task are epochs of one sample."""
    seen: Counter[str] = Counter()
    samples = []
    for episode in map(_encodable, episodes):
        seen[episode.task.id] += 1
        samples.append(_SampleWriter(episode, seen[episode.task.id], facts).sample())
    evaluation = facts.settings.get("evaluation", {})
    created = facts.created.isoformat()
    digest = _digest(facts.name, created, suite)
    spec = EvalSpec(
        created=created,
        eval_id=digest,
        run_id=_digest(facts.name, created),
        task=suite,
        task_id=_digest(suite),
        task_args={"env": evaluation.get("env_id", ""), **evaluation.get("env_kwargs", {})},
        solver=facts.settings.get("strategy") or None,
        dataset=EvalDataset(name=suite, samples=len(seen), sample_ids=list(seen), shuffled=False),
        model=facts.agent,
        model_args={"agent_args": facts.settings["agent_args"]} if facts.settings.get("agent_args") else {},
        config=EvalConfig(epochs=max(seen.values())),
        packages={"steptool-env": version("steptool-env"), "inspect_ai": version("inspect_ai")},
        metadata={"run": facts.name, **facts.settings},
    )
    return EvalLog(
        status="success",
        eval=spec,
        samples=samples,
        results=EvalResults(
            total_samples=len(samples),
            completed_samples=len(samples),
            scores=[_total(name, samples) for name in _TOTALS],
        ),
        stats=EvalStats(started_at=created, completed_at=created),
    )


_TOTALS = (SOLVED, RETURN)


def _total(name: str, samples: Sequence[EvalSample]) -> EvalScore:
    """Return a score of a log: Inspect's own mean and standard error over the samples."""
    scores = [SampleScore(score=sample.scores[name]) for sample in samples if sample.scores and name in sample.scores]
    metrics = {"mean": mean(), "stderr": stderr()}
    values = {key: EvalMetric(name=key, value=float(metric(scores))) for key, metric in metrics.items()}
    return EvalScore(name=name, scorer=name, scored_samples=len(scores), metrics=values)


class _SampleWriter:
    """Writer of one episode: messages and events, with ids that are functions of the episode's place in the run."""

    def __init__(self, episode: Trajectory, epoch: int, facts: RunFacts) -> None:
        self._episode, self._epoch, self._facts = episode, epoch, facts
        self._id = _digest(facts.name, episode.task.suite, episode.task.id, str(epoch))
        rules = episode.metadata
        call_format = make_format(rules.get("format", "openai"))
        prompt = make_prompt(episode.task, call_format, rules.get("prompt", "toolbench"), stated_budget(rules))
        system, user = (message["content"] for message in prompt.messages)
        self._messages: list[ChatMessage] = [
            ChatMessageSystem(id=self._name("system"), content=system),
            ChatMessageUser(id=self._name("user"), content=user),
        ]
        self._tools = [_tool(function) for function in {each["name"]: each for each in prompt.functions}.values()]
        self._output = ModelOutput(model=facts.agent)

    def sample(self) -> EvalSample:
        """Return the sample of the episode."""
        episode, task = self._episode, self._episode.task
        target = list(task.relevant) or ""
        metadata = _plain(dict(episode.metadata))
        metadata |= {"terminated": episode.terminated, "truncated": episode.truncated, "family": task.family}
        events: list[Event] = [
            SampleInitEvent(
                sample=Sample(id=task.id, input=task.query, target=target, metadata=metadata),
                state={},
                **self._at("init"),
            )
        ]
        for number, step in enumerate(episode.steps):
            events += self._step(number, step)
        scores = self._scores()
        events += [
            ScoreEvent(score=score, scorer=name, target=target, **self._at(f"score-{name}"))
            for name, score in scores.items()
        ]
        created = self._facts.created.isoformat()
        return EvalSample(
            id=task.id,
            epoch=self._epoch,
            uuid=self._id,
            input=task.query,
            target=target,
            messages=self._messages,
            output=self._output,
            scores=scores,
            metadata=metadata,
            events=events,
            turn_count=len(episode.steps),
            started_at=created,
            completed_at=created,
        )

    def _step(self, number: int, step: Step) -> Iterator[Event]:
        """Add the messages of a step, and yield its events."""
        call = None
        if step.action.name:
            arguments, problem = _arguments(step)
            call_id = self._name(f"call-{number + 1}")
            call = ToolCall(id=call_id, function=step.action.name, arguments=arguments, parse_error=problem)
        yield self._model_event(number, step, call)
        yield self._answer_event(number, step, call)
        yield self._score_event(number, step)

    def _model_event(self, number: int, step: Step, call: ToolCall | None) -> ModelEvent:
        """Add the agent's message, and return its event."""
        said = ChatMessageAssistant(
            id=self._name(f"assistant-{number}"),
            content=step.action.text,
            tool_calls=[call] if call else None,
            model=self._facts.agent,
            source="generate",
        )
        choice = ChatCompletionChoice(message=said, stop_reason="tool_calls" if call else "stop")
        self._output = ModelOutput(model=self._facts.agent, choices=[choice])
        event = ModelEvent(
            model=self._facts.agent,
            input=list(self._messages),
            tools=self._tools,
            tool_choice="auto",
            config=GenerateConfig(),
            output=self._output,
            **self._at(f"model-{number}"),
        )
        self._messages.append(said)
        return event

    def _answer_event(self, number: int, step: Step, call: ToolCall | None) -> InfoEvent | ToolEvent:
        """Add the answer to the agent's message, and return its event."""
        outcome = {"status": step.status.name.lower(), "provenance": step.provenance and str(step.provenance.value)}
        if call is None:
            self._messages.append(ChatMessageUser(id=self._name(f"user-{number}"), content=step.observation))
            return InfoEvent(
                source="environment", data={**outcome, "observation": step.observation}, **self._at(f"info-{number}")
            )
        failed = None
        if step.status not in _RIGHT:
            failed = ToolCallError(type="parsing" if step.malformed else "unknown", message=outcome["status"])
        heard = ChatMessageTool(
            id=self._name(f"tool-{number}"),
            content=step.observation,
            tool_call_id=call.id,
            function=call.function,
            error=failed,
        )
        self._messages.append(heard)
        return ToolEvent(
            id=call.id,
            function=call.function,
            arguments=call.arguments,
            result=step.observation,
            error=failed,
            failed=failed is not None or None,
            message_id=heard.id,
            **self._at(f"tool-{number}", outcome),
        )

    def _score_event(self, number: int, step: Step) -> ScoreEvent:
        """Return the event of a step's reward."""
        facts: dict[str, Any] = {
            "step": number + 1,
            "reward_at_step": step.reward,
            "reward_terms": dict(step.reward_terms),
        }
        advantages = self._episode.metadata.get("advantages")
        if isinstance(advantages, Sequence) and len(advantages) == len(self._episode.steps):
            facts["advantage"] = advantages[number]
        words = ", ".join(f"{name} {value:g}" for name, value in step.reward_terms.items())
        score = Score(
            value=self._reward(number),
            answer=step.action.name or None,
            explanation=words or None,
            metadata=_plain(facts),
        )
        return ScoreEvent(score=score, scorer="step_reward", intermediate=True, **self._at(f"reward-{number}"))

    def _scores(self) -> dict[str, Score]:
        episode = self._episode
        answer = str(_arguments(episode.steps[-1])[0].get("final_answer", "")) if episode.finished else ""
        rewards = [self._reward(number) for number in range(len(episode.rewards))]
        outcome = _plain(dict(episode.metadata.get("outcome", {})))
        return {
            SOLVED: Score(value=result_of(episode).passed, answer=answer or None, metadata={"outcome": outcome}),
            RETURN: Score(value=sum(rewards)),
            STEP_REWARDS: Score(value=rewards, explanation="Reward of each step, in order, as it reaches a trainer."),
        }

    def _reward(self, number: int) -> float:
        return _finite(self._episode.rewards[number])

    def _at(self, event: str, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the fields that Inspect would fill in from the clock and at random."""
        common = {"uuid": self._name(event), "timestamp": self._facts.created, "working_start": 0.0}
        return {**common, "span_id": None, "metadata": dict(metadata) if metadata else None}

    def _name(self, part: str) -> str:
        return f"{self._id}-{part}"


def _tool(function: Mapping[str, Any]) -> ToolInfo:
    parameters = ToolParams.model_validate(function.get("parameters") or _EMPTY_PARAMETERS)
    return ToolInfo(name=function["name"], description=function.get("description", ""), parameters=parameters)


def _arguments(step: Step) -> tuple[dict[str, Any], str | None]:
    """Return the arguments of a call, and the error of a text that is not a JSON object."""
    try:
        value = parse(step.action.arguments or "{}")
    except ValueError as error:
        return {}, f"{error}: {step.action.arguments}"
    if not isinstance(value, dict):
        return {}, f"not a JSON object: {step.action.arguments}"
    return _plain(value), None


def _plain(value: Any) -> Any:
    """Return a JSON value, with `None` for numbers that are not finite."""
    return json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)


def _encodable(episode: Trajectory) -> Trajectory:
    """Return an episode whose texts UTF-8 can encode: a lone surrogate, which a model may write, becomes `?`."""
    text = json.dumps(trajectory_record(episode), ensure_ascii=False)
    return read_trajectory(json.loads(text.encode("utf-8", "replace")))


def _finite(value: float) -> float:
    return value if isfinite(value) else 0.0


def _digest(*parts: str) -> str:
    return blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=11).hexdigest()
