"""Records of episodes of another form than this project writes."""

import json
from typing import Any

import pytest

from steptool_env.episodes.records import encode, read_trajectory
from steptool_env.errors import DataError
from tests.steptool_env.trajectories.test_trajectories import EPISODE


@pytest.mark.parametrize("wrong", [{"name": ["a"]}, {"type": {}}, {"description": 5}, {"more": ""}])
def test_parameters_of_another_form_are_refused(wrong: dict[str, Any]) -> None:
    """Exports name and describe them."""
    record = json.loads(encode(EPISODE))
    record["task"]["tools"][0]["optional"] = [{"name": "a", "type": "STRING", "description": "", "default": {"b": 1}}]
    assert read_trajectory(record).task.tools[0].optional[0].default == {"b": 1}
    record["task"]["tools"][0]["optional"][0] |= wrong
    with pytest.raises(DataError, match=f"{next(iter(wrong))}"):
        read_trajectory(record)


@pytest.mark.parametrize(
    "metadata",
    [{"call_budget": "12"}, {"tokens": "many"}, {"search_calls": None}, {"search_invalid_calls": -1},
     {"outcome": {"progress": "half"}}, {"outcome": {"is_solved": 2}}, {"outcome": {"is_solved_1": -0.1}},
     {"search_tree": [{"parent": 0}]}, {"search_tree": 5}],
)  # fmt: skip
def test_metadata_that_metrics_and_exports_cannot_read_are_refused(metadata: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="not a trajectory"):
        read_trajectory(EPISODE | {"metadata": EPISODE["metadata"] | metadata})
