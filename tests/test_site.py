"""Documentation: links between files of the repository. `make check` builds the site."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


def test_relative_links_lead_to_files() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
        for target in LINK.findall(page.read_text())
        if not (page.parent / target).exists()
    ]
    assert not broken
