"""The judgement that was once given to the same episode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

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
    """Looks an episode up among judged ones, and asks another judge about what it does not find.

    Two episodes are the same when the query, the calls in their order (canonical arguments, as in the response cache)
    and the final answer are: all that the agent wrote. What the tools answered is left out, because a fifth of the
    published calls were answered in more than one way, and the answer's judge saw the query and the answer alone.

    The step terms are the recorded ones where the episodes have them (our own trajectories), else the other judge's.
    """

    def __init__(self, episodes: Iterable[Trajectory], fallback: Judge) -> None:
        """`episodes` need an `outcome` in their metadata; `fallback` judges what is not among them."""
        judged = (episode for episode in episodes if "outcome" in episode.metadata)
        self._judged = {_identity(episode.task, episode.steps): episode for episode in judged}
        self._fallback = fallback

    @classmethod
    def from_path(cls, path: str, *, fallback: str = "rules", **options: Any) -> RecordedJudge:
        """The judgements in a file or folder (see `read_recordings`).

        Args:
            path: A judged run or trajectories.
            fallback: Name of the judge for what is not recorded.
            options: Options of that judge.

        Raises:
            ConfigurationError: There is no such judge.
            DataError: `path` holds no episode that was judged.
        """
        from steptool_env.judges import make_judge

        if fallback == "recorded":
            raise ConfigurationError("fallback='recorded': give a judge that can judge anew, such as 'rules'")
        return cls(read_recordings(path), make_judge(fallback, **options))

    def __len__(self) -> int:
        """Number of judgements held."""
        return len(self._judged)

    def call_succeeded(self, task: Task, step: Step) -> float | None:
        """What the other judge says: whether the episode is a recorded one is known only at its end."""
        return self._fallback.call_succeeded(task, step)

    def judge(self, task: Task, steps: Sequence[Step]) -> Judgement:
        """The recorded judgement, with `recorded` set, or the other judge's."""
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
    """The arguments as the cache's keys write them; as they are where they are no JSON object."""
    try:
        parsed = parse(arguments)
        if isinstance(parsed, dict):
            return canonical_arguments(parsed)
    except (ValueError, DataError):
        pass
    return _bytes(arguments)


def _bytes(text: str) -> bytes:
    """Blanks at the ends say nothing: a format may drop them."""
    return text.strip().encode("utf-8", "surrogatepass")
