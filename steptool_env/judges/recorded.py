"""Judge: recorded judgements of the same episodes."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Self

from steptool_env.errors import ConfigurationError
from steptool_env.judges.answer import final_answer
from steptool_env.judges.base import Judge, Judgement
from steptool_env.metrics import result_of
from steptool_env.trajectories.recordings import read_recordings
from steptool_env.types import Step, Task, Trajectory
from toolserver.calls.call_key import canonical_arguments
from toolserver.calls.json_parsing import parse
from toolserver.errors import DataError


class RecordedJudge:
    """Looks up the judgement of an episode; uses another judge for unknown episodes.

    Two episodes are the same if the query, the calls in order (with canonical arguments, as in the response cache) and
    the final answer are the same. Responses are ignored, because a fifth of the published calls have several responses,
    and the published judge saw only the query and the answer.

    The step terms are the recorded ones if the episode has them (trajectories of this project), else the fallback's.
    """

    def __init__(self, episodes: Iterable[Trajectory], fallback: Judge) -> None:
        """`episodes` need an `outcome` in their metadata; `fallback` judges unknown episodes."""
        judged = (episode for episode in episodes if "outcome" in episode.metadata)
        self._judged = {_identity(episode.task, episode.steps): episode for episode in judged}
        self._fallback = fallback

    @classmethod
    def from_path(cls, path: str, *, fallback: str = "rules", **options: Any) -> Self:
        """Return a judge with the judgements in a file or folder (see `read_recordings`).

        Args:
            path: Judged run or trajectories.
            fallback: Name of the judge for unknown episodes.
            options: Options of the fallback.

        Raises:
            ConfigurationError: `fallback` is unknown.
            DataError: `path` contains no judged episode.
        """
        from steptool_env.judges import make_judge

        if fallback == "recorded":
            raise ConfigurationError("fallback='recorded': must be another judge, such as 'rules'")
        return cls(read_recordings(path), make_judge(fallback, **options))

    def __len__(self) -> int:
        return len(self._judged)

    def call_succeeded(self, task: Task, step: Step) -> float | None:
        """Return the verdict of the fallback, because the episode is looked up at its end."""
        return self._fallback.call_succeeded(task, step)

    def judge(self, task: Task, steps: Sequence[Step]) -> Judgement:
        """Return the recorded judgement, with `recorded` set, or the fallback's."""
        found = self._judged.get(_identity(task, steps))
        if found is None:
            return self._fallback.judge(task, steps)
        solved = result_of(found).passes
        terms = [step.reward_terms for step in found.steps]
        if all("contribution" in term for term in terms[:-1]):
            succeeded = tuple(term.get("succ_calling", 0.0) for term in terms)
            contributed = tuple(term.get("contribution", 0.0) for term in terms)
            return Judgement(succeeded, contributed, solved, recorded=True)
        return self._fallback.judge(task, steps)._replace(is_solved=solved, recorded=True)


def _identity(task: Task, steps: Sequence[Step]) -> bytes:
    answer = final_answer(steps)
    calls = steps[:-1] if answer else steps
    parts = [_bytes(task.query), _bytes(answer)]
    for step in calls:
        parts += [_bytes(step.action.name), _canonical(step.action.arguments)]
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def _canonical(arguments: str) -> bytes:
    """Return the canonical arguments of the response cache; `arguments` itself unless it is a JSON object."""
    try:
        parsed = parse(arguments)
        if isinstance(parsed, dict):
            return canonical_arguments(parsed)
    except (ValueError, DataError):
        pass
    return _bytes(arguments)


def _bytes(text: str) -> bytes:
    """Return the bytes of `text`, stripped, because a format may strip it."""
    return text.strip().encode("utf-8", "surrogatepass")
