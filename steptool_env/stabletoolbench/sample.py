"""Sample of StableToolBench that is part of the package."""

from pathlib import Path

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "stabletoolbench-sample"
"""Folder with the layout of StableToolBench's data; its README gives the sources."""

SAMPLE_NAME = "stabletoolbench-sample"
"""Prefix of set names in tasks, reports and metrics, which separates results on the sample from StableToolBench's."""


def suite_name(name: str, place: str | Path | None) -> str:
    """Return the name of a set whose files are in `place`, with the prefix of the sample for its files."""
    inside = place is not None and Path(place).resolve().is_relative_to(SAMPLE)
    return f"{SAMPLE_NAME}/{name}" if inside else name


def is_sample(suite: str) -> bool:
    """Return True for the name of a set of the sample."""
    return suite.startswith(f"{SAMPLE_NAME}/")
