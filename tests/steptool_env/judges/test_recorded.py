"""The published judgement of an identical episode."""

from dataclasses import replace
from pathlib import Path

import pytest

from steptool_env.errors import ConfigurationError, DataError
from steptool_env.judges import make_judge
from steptool_env.judges.recorded import RecordedJudge
from steptool_env.judges.rules import RulesJudge
from steptool_env.metrics import result_of
from steptool_env.trajectories.recordings import read_recordings
from steptool_env.trajectories.trajectories import write_trajectories
from steptool_env.types import Action, Step
from tests.steptool_env.sample_episodes import answered, called, task, trajectory

SEARCH = called("search", ["Northern Light"], studio="Aurora", year=1987)
ANSWER = answered("Northern Light, by Maren Okafor.")
JUDGED = trajectory(SEARCH, ANSWER, is_solved=0.5, is_solved_0=1.0, is_solved_1=0.0)
JUDGE = RecordedJudge([JUDGED], RulesJudge())


def test_an_identical_episode_gets_every_repeat_of_its_judgement() -> None:
    judged = JUDGE.judge(task(), (SEARCH, ANSWER))
    assert judged.recorded
    assert judged.is_solved == (1.0, 0.0)
    assert judged.succ_calling == (1.0, 0.0)


def test_the_order_of_arguments_and_the_tools_answers_do_not_matter() -> None:
    other = called("search", ["something else"], year=1987, studio="Aurora")
    assert JUDGE.judge(task(), (other, ANSWER)).recorded


@pytest.mark.parametrize(
    "steps",
    [
        (SEARCH, answered("Northern Light, by Maren Okafor!")),
        (SEARCH, SEARCH, ANSWER),
        (ANSWER,),
        (called("search", ["Northern Light"], studio="Aurora", year="1987"), ANSWER),
        (SEARCH,),
        (),
    ],
)
def test_any_other_episode_is_judged_again(steps: tuple[Step, ...]) -> None:
    judged = JUDGE.judge(task(), steps)
    assert not judged.recorded
    assert judged == RulesJudge().judge(task(), steps)


def test_another_query_is_another_episode() -> None:
    assert not JUDGE.judge(task("Which film did Aurora release in 1988?"), (SEARCH, ANSWER)).recorded


def test_arguments_that_are_no_json_are_compared_as_text() -> None:
    broken = replace(SEARCH, action=Action("", "search", "{broken"))
    judge = RecordedJudge([trajectory(broken, ANSWER, is_solved=1.0)], RulesJudge())
    assert judge.judge(task(), (broken, ANSWER)).recorded


def test_recorded_step_terms_are_used_where_there_are_any(tmp_path: Path) -> None:
    step = replace(SEARCH, reward_terms={"succ_calling": 0.25, "contribution": 0.75})
    write_trajectories(tmp_path / "runs.jsonl", [trajectory(step, ANSWER, is_solved=1.0)])
    judged = make_judge("recorded", path=str(tmp_path / "runs.jsonl")).judge(task(), (SEARCH, ANSWER))
    assert (judged.succ_calling[0], judged.contribution[0]) == (0.25, 0.75)


def test_every_published_judgement_is_found_again(judged_run: Path) -> None:
    judge = RecordedJudge.from_path(str(judged_run))
    for episode in read_recordings(judged_run)[::7]:
        judged = judge.judge(episode.task, episode.steps)
        assert judged.recorded
        assert judged.is_solved == result_of(episode).passes


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no episodes"):
        make_judge("recorded", path=str(tmp_path))
    (tmp_path / "bad.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="line 1"):
        make_judge("recorded", path=str(tmp_path / "bad.jsonl"))
    with pytest.raises(ConfigurationError, match="fallback"):
        make_judge("recorded", path=str(tmp_path), fallback="recorded")
    with pytest.raises(DataError, match="nowhere"):
        make_judge("recorded", path=str(tmp_path / "nowhere.json"))
