"""The judge of rules: what it takes for solved, and what it does not."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.stabletoolbench.annotations import read_annotations, read_training_rows
from benchmarks.stabletoolbench.judge_agreement import contribution_fires, step_rewards, verdicts
from steptool_env.judges import Judgement, make_judge
from steptool_env.trajectories.recordings import read_recordings
from steptool_env.types import Step
from tests.steptool_env.sample_episodes import answered, called, gave_up, malformed, task
from toolserver.catalog.api_schema import Provenance

SEARCH = called("search", [{"id": "tt-93421", "title": "Northern Light"}], studio="Aurora")
DETAILS = called("details", {"title": "Northern Light", "director": "Maren Okafor"}, id="tt-93421")
ANSWER = answered("Aurora released Northern Light in 1987; Maren Okafor directed it.")
REFUSED = called("details", error="Unauthorized error...", id="tt-93421")


def judge(*steps: Step) -> Judgement:
    return make_judge("rules").judge(task(), steps)


def test_an_answer_made_of_what_the_tools_said_is_solved() -> None:
    assert judge(SEARCH, DETAILS, ANSWER).is_solved == (1.0,)


@pytest.mark.parametrize(
    "steps",
    [
        (),
        (SEARCH, DETAILS),
        (SEARCH, gave_up()),
        (SEARCH, answered("")),
        (SEARCH, answered("Bananas.")),
        (REFUSED, ANSWER),
        (SEARCH, answered("I am sorry, but I could not find the film of Aurora.")),
        (SEARCH, answered("I can't say who directed Northern Light.")),
        (SEARCH, answered("I can’t say who directed Northern Light.")),
        (SEARCH, answered("I couldn’t find who directed Northern Light.")),
        (SEARCH, answered("Northern Light is by Aurora. Unfortunately the director is not available.")),
        (malformed(), malformed()),
    ],
)
def test_an_episode_without_an_answer_to_the_query_is_unsolved(steps: tuple[Step, ...]) -> None:
    assert judge(*steps).solved == 0.0


def test_an_answer_that_is_invented_is_unsure() -> None:
    assert judge(SEARCH, answered("The studio Aurora released Old Harbour that year, by Jo Lind.")).solved == 0.5


def test_an_answer_that_lacks_a_part_is_unsure() -> None:
    answer = "Aurora released Northern Light. It is a drama. The director was not found."
    assert judge(SEARCH, answered(answer)).solved == 0.5


def test_a_synthetic_answer_is_no_success_and_no_evidence() -> None:
    """It can repeat the arguments of its call, which the policy chooses."""
    made = (replace(step, provenance=Provenance.SYNTHETIC) for step in (SEARCH, DETAILS))
    judged = judge(*made, ANSWER)
    assert judged.is_solved == (0.0,)
    assert not any((*judged.succ_calling, *judged.contribution))
    mixed = judge(called("look"), replace(SEARCH, provenance=Provenance.SYNTHETIC), answered("tt-93421"))
    assert mixed.solved < 1.0


def test_steps_are_judged_one_by_one() -> None:
    judged = judge(SEARCH, REFUSED, malformed(), DETAILS, ANSWER)
    assert judged.succ_calling == (1.0, 0.0, 0.0, 1.0, 0.0)
    assert [share > 0 for share in judged.contribution] == [True, False, False, True, False]


def test_a_failed_call_contributes_nothing_even_when_its_text_is_repeated() -> None:
    message = called("details", {"message": "Order tt-93421 was not found"})
    assert judge(message, answered("Order tt-93421 of Aurora was ordered in 1987.")).contribution == (0.0, 0.0)


@given(st.lists(st.sampled_from([SEARCH, DETAILS, REFUSED, malformed(), ANSWER, gave_up()]), max_size=6))
def test_a_judgement_has_an_entry_per_step_and_stays_in_range(steps: list[Step]) -> None:
    judged = judge(*steps)
    for vector in (judged.succ_calling, judged.contribution):
        assert len(vector) == len(steps)
        assert all(0 <= entry <= 1 for entry in vector)
    assert judged.solved in (0.0, 0.5, 1.0)
    assert judged == judge(*steps)


def test_rules_agree_with_the_published_annotations_better_than_the_authors_rules(published_data: Path) -> None:
    examples = published_data / "steptool_examples"
    table = step_rewards(read_training_rows(examples), read_annotations(examples))
    ours, theirs = table["our rules"], table["authors' rules (contribution 0 or 1)"]
    assert ours["items"] == 71
    assert ours["mean_difference"] < 0.23 < 0.27 < theirs["mean_difference"]
    assert ours["spearman"] > 0.55 > 0.35 > theirs["spearman"]


def test_rules_tell_use_from_chance_and_follow_the_published_verdicts(published_data: Path) -> None:
    folder = published_data / "judged_runs" / "toolllama_sft_cot"
    runs = read_recordings(folder)
    fires = contribution_fires([run for run in runs if run.task.suite == "G1_instruction"])
    assert fires["our rules"]["own_answer"] > 0.55
    assert fires["our rules"]["unrelated_answer"] < 0.1 < 0.3 < fires["authors' rules"]["unrelated_answer"]
    assert verdicts(runs)["our rules, held-out sets"]["mean_difference"] < 0.23
