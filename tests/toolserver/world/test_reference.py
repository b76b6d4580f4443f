"""The reference page agrees with the tables."""

from pathlib import Path

from toolserver.world.reference import reference

PAGE = Path(__file__).resolve().parents[3] / "docs" / "toolworld-reference.md"


def test_the_page_is_the_one_that_the_tables_give() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "docs/toolworld-reference.md is not up to date; generate it: "
        "python -m toolserver.world.reference > docs/toolworld-reference.md"
    )
