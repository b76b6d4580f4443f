"""The sample of StableToolBench that ships with the package."""

from __future__ import annotations

from pathlib import Path

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "stabletoolbench-sample"
"""A folder laid out as StableToolBench's data; its README says where each part comes from."""

SAMPLE_NAME = "stabletoolbench-sample"
"""Stands before the name of a set in tasks, reports and metrics, so that no figure passes for StableToolBench's."""


def suite_name(name: str, place: str | Path | None) -> str:
    """The name of a set whose files lie in `place`: that of the sample, if they are the sample's."""
    inside = place is not None and Path(place).resolve().is_relative_to(SAMPLE)
    return f"{SAMPLE_NAME}/{name}" if inside else name


def is_sample(suite: str) -> bool:
    """True for the name of one of the sample's sets."""
    return suite.startswith(f"{SAMPLE_NAME}/")
