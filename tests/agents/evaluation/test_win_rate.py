"""`steptool score`: win rate over another run, FAC, pass rates without step prompts, and kept verdicts."""

import json
from pathlib import Path
from typing import Any

import pytest

from agents.cli import main
from agents.evaluation.win_rate import LOSS, TIE, WIN, compare, win_metrics
from steptool_env.errors import ConfigurationError
from steptool_env.judges import make_judge
from steptool_env.stabletoolbench.sample import SAMPLE
from steptool_env.trajectories.recordings import read_recordings
from steptool_env.trajectories.trajectories import write_trajectories
from steptool_env.types import Trajectory
from tests.server_stub import calling, chat_stub
from tests.steptool_env.sample_episodes import answered, called, gave_up, task, trajectory
from toolserver.cache import ResponseCache
from toolserver.catalog.api_schema import Provenance


def judged(answer: str, *passes: float) -> Trajectory:
    episode = trajectory(called("search", ["tt-93421"], studio="Aurora"), answered(answer), of=task())
    outcome = {f"is_solved_{repeat}": value for repeat, value in enumerate(passes)}
    return trajectory_with(episode, outcome)


def trajectory_with(episode: Trajectory, outcome: dict[str, float]) -> Trajectory:
    return Trajectory(episode.task, episode.steps, episode.rewards, True, False, {"outcome": outcome})


def preferring(words: str) -> Any:
    """A model that takes the answer with these words, whatever its place; and calls answers with `Solved` solved."""

    def reply(request: dict[str, Any]) -> dict[str, Any]:
        prompt = request["messages"][0]["content"]
        function = request["tools"][0]["function"]["name"]
        if function == "select_better_answer":
            first = prompt.partition("Answer_0:")[2].partition("Answer_1:")[0]
            return calling(function, index=0 if words in first else 1)
        return calling(function, answer_status="Solved")

    return reply


def test_the_better_verdict_wins_without_a_question_and_equal_ones_are_compared_in_both_orders() -> None:
    with chat_stub(preferring("good")) as stub:
        judge = make_judge("llm", model="m", base_url=stub.url)
        assert compare(judged("bad", 1, 1, 1), judged("good", 0.5, 0, 0), judge).score == WIN
        assert stub.requests == []
        both = compare(judged("bad", 1, 1, 0), judged("good", 1, 1, 1), judge)
    assert (both.votes, both.score, both.asked) == ((LOSS, LOSS, LOSS), LOSS, 2)
    prompts = [request["messages"][0]["content"] for request in stub.requests]
    assert len(prompts) == 4
    at = [prompt.index("good") < prompt.index("bad") for prompt in prompts]
    assert sorted(at) == [False, False, True, True]  # each answer stands first once per repeat
    assert '"total_steps": 4' in prompts[0]
    assert stub.requests[0]["tool_choice"]["function"]["name"] == "select_better_answer"


def test_a_model_that_prefers_a_place_decides_nothing_and_the_pass_score_does() -> None:
    with chat_stub(lambda _: calling("select_better_answer", index=0)) as stub:
        judge = make_judge("llm", model="m", base_url=stub.url)
        same = compare(judged("one", 1, 1), judged("two", 1, 1), judge)
        split = compare(judged("one", 1, 0.5, 1), judged("two", 0, 1, 1), judge)
    assert (same.score, same.votes) == (TIE, (TIE, TIE))
    assert split.votes == (WIN, LOSS, TIE)
    assert (split.verdict, split.other_verdict, split.score) == (pytest.approx(2.5 / 3), pytest.approx(2 / 3), WIN)


def test_equal_answers_are_a_tie_and_a_judge_without_a_comparison_ties_equal_verdicts() -> None:
    with chat_stub(preferring("x")) as stub:
        judge = make_judge("llm", model="m", base_url=stub.url)
        assert compare(judged("same", 1), judged("same", 1), judge).score == TIE
    assert stub.requests == []
    assert compare(judged("one", 1), judged("two", 1), make_judge("rules")).score == TIE


def test_rates_are_over_tasks_and_per_set() -> None:
    scores = [("A", WIN), ("A", LOSS), ("B", TIE), ("B", WIN)]
    from agents.evaluation.win_rate import Comparison

    rows = [Comparison(suite, str(n), score, (score,), 0, 0, 0) for n, (suite, score) in enumerate(scores)]
    metrics = win_metrics(rows)
    assert (metrics["win_rate"], metrics["tie_rate"], metrics["loss_rate"]) == (0.5, 0.25, 0.25)
    assert (metrics["win_rate_A"], metrics["tie_rate_B"], metrics["comparisons_B"]) == (0.5, 0.5, 2)


def score(stub_url: str, tmp_path: Path, out: str, *more: str) -> None:
    main(["score", "--episodes", str(tmp_path / "run.jsonl"), "--against", str(tmp_path / "other.jsonl"),
          "--reward", "final", "--reward-args", "judge=llm", "model=m", f"base_url={stub_url}", "verdict=tooleval",
          "repeats=2", *more, "--out", str(tmp_path / out)])  # fmt: skip


def test_a_judged_table_is_made_again_for_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No step prompt is sent for a reward of the outcome; the second time no request is."""
    second = task(task_id="2")
    write_trajectories(tmp_path / "run.jsonl", [judged("good"), trajectory(gave_up(), of=second)])
    write_trajectories(tmp_path / "other.jsonl", [judged("bad"), trajectory(answered("fair"), of=second)])
    with chat_stub(preferring("good")) as stub:
        score(stub.url, tmp_path, "first", "--verdicts", str(tmp_path / "verdicts"))
    asked = [request["tools"][0]["function"]["name"] for request in stub.requests]
    assert sorted(set(asked)) == ["check_answer_status", "select_better_answer"]
    assert len(asked) == 2 * 3 + 2 * 2  # three answers and one pair, in both orders, twice each
    assert "win rate 0.500" in capsys.readouterr().out  # the other task gave up, against an answer
    with chat_stub(lambda _: 503) as away:
        score(away.url, tmp_path, "again", "--verdicts", str(tmp_path / "verdicts"))
    assert away.requests == []
    for name in ("win_rate.json", "comparisons.jsonl", "metrics.json", "trajectories.jsonl"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    with ResponseCache(tmp_path / "verdicts", read_only=True) as cache:
        kept = [entry for _, entry in cache.entries()]
        assert list(cache.verify()) == []
    assert {entry.provenance for entry in kept} == {Provenance.GENERATED}
    assert {entry.describe().source for entry in kept} == {f"{stub.url}/chat/completions"}
    assert "api_key" not in (tmp_path / "first" / "run.json").read_text()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ([trajectory(answered("bad"), of=task(suite="plays"))], "share no task"),
        ([judged("a"), judged("b")], "two episodes"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused_before_a_model_is_asked(
    other: list[Trajectory], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_trajectories(tmp_path / "run.jsonl", [judged("good")])
    write_trajectories(tmp_path / "other.jsonl", other)
    with chat_stub(preferring("good")) as stub, pytest.raises(SystemExit, match="2"):
        score(stub.url, tmp_path, "out")
    assert stub.requests == []
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unusable_message_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    replies = iter([calling("check_answer_status", answer_status="Perhaps"),
                    calling("check_answer_status", answer_status="Solved")])  # fmt: skip
    options: dict[str, Any] = {"verdict": "tooleval", "steps": False, "repeats": 1, "cache": str(tmp_path / "v")}
    with chat_stub(lambda _: next(replies)) as stub:
        judge = make_judge("llm", model="m", base_url=stub.url, **options)
        for _ in range(2):
            assert judge.judge(task(), judged("good").steps).is_solved == (1.0,)
        judge.close()  # type: ignore[attr-defined]
    assert len(stub.requests) == 2


@pytest.mark.parametrize(
    ("text", "solved"),
    [("Answer Status\nSolved\nReason\nAll parts.", 1.0), ("Answer Status: Unsolved", 0.0), ("I cannot say.", 0.0)],
)
def test_fac_reads_the_final_answer_alone(text: str, solved: float) -> None:
    """One request per episode, in the words of the metric's model, at temperature 0."""
    with chat_stub(lambda _: {"role": "assistant", "content": text}) as stub:
        judge = make_judge("llm", model="fac", base_url=stub.url, verdict="fac", steps=False)
        assert judge.judge(task(), judged("Maren {query} Okafor").steps).is_solved == (solved,)
        assert judge.judge(task(), [gave_up()]).is_solved == (0.0,)  # without a request
    (request,) = stub.requests
    prompt = request["messages"][0]["content"]
    finish = '{"return_type": "give_answer", "final_answer": "Maren {query} Okafor"}'  # as FAC's own script shows it
    assert f"Answer: \n{finish}\n" in prompt
    assert "DO NOT BE TOO HARSH" in prompt
    assert "search" not in prompt.partition("Query: \n")[2]
    assert (request["temperature"], request["max_tokens"], "tools" in request) == (0, 512, False)


def test_wrong_settings_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError, match="steps=False"):
        make_judge("llm", model="m", steps=False)
    write_trajectories(tmp_path / "run.jsonl", [judged("good")])
    with pytest.raises(SystemExit, match="2"):
        main(["score", "--episodes", str(tmp_path / "run.jsonl"), "--verdicts", str(tmp_path / "v"),
              "--reward-args", "judge=rules", "--out", str(tmp_path / "out")])  # fmt: skip
    assert "--verdicts: only judge=llm" in capsys.readouterr().err


def test_runs_that_toolevals_pass_rate_wrote_are_compared_by_their_verdicts(tmp_path: Path) -> None:
    """`eval_pass_rate.py` names a file `<set>_<run>.json`; the set is the same in both runs."""
    for run in ("sample-hasty", "sample-thorough"):
        (tmp_path / run).mkdir()
        published = (SAMPLE / "judged_runs" / run / "G2_category.json").read_bytes()
        (tmp_path / run / f"G2_category_{run}.json").write_bytes(published)
    main(["score", "--episodes", str(tmp_path / "sample-thorough"), "--against", str(tmp_path / "sample-hasty"),
          "--reward", "final", "--reward-args", "judge=recorded", f"path={tmp_path}",
          "--out", str(tmp_path / "out")])  # fmt: skip
    assert json.loads((tmp_path / "out" / "win_rate.json").read_text())["win_rate"] > 0
    assert {episode.task.suite for episode in read_recordings(tmp_path / "out")} == {"G2_category"}


def test_the_published_pass_scores_decide_as_the_published_preferences_do(published_data: Path) -> None:
    """The published comparison of DFSDT with CoT prefers the answer with the better verdict."""
    folder = published_data / "toolbench_answer_examples"
    runs = {
        name: {episode.task.id: episode for episode in read_recordings(folder / "pass_rate_results" / name)}
        for name in ("virtual_chatgpt_cot", "virtual_chatgpt_dfs")
    }
    (file,) = (folder / "preference_results").glob("*.json")
    for query, votes in json.loads(file.read_text()).items():
        cot, dfs = (runs[name][query] for name in runs)
        compared = compare(dfs, cot, None)
        if compared.verdict != compared.other_verdict:
            assert (compared.score == WIN) == (votes["virtual_chatgpt_dfs"] > votes["virtual_chatgpt_cot"])
