"""Writes the table of docs/integrations.md from the results of `make test-integrations`.

Each partner's tests record its facts as properties of the test suite; pytest writes them beside the results.
"""

import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "integrations.md"
START, END = "<!-- table of `make test-integrations` -->", "<!-- end of the table -->"
HEAD = "| partner | version | tests | what runs | what the partner drops |\n|---|---|---|---|---|\n"


def row(path: Path) -> str:
    """The row of one partner. Raises `SystemExit` where its tests recorded nothing or did not pass."""
    suite = next(ElementTree.parse(path).iter("testsuite"))  # written by pytest on this machine
    facts = {each.get("name"): each.get("value") or "" for each in suite.iter("property")}
    count = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    if count["failures"] or count["errors"] or count["skipped"] == count["tests"] or "partner" not in facts:
        sys.exit(f"{path}: {count}; the table takes partners whose tests ran and passed")
    passed = count["tests"] - count["skipped"]
    shown = f"{passed} passed" + (f", {count['skipped']} skipped" if count["skipped"] else "")
    return f"| {facts['partner']} | {facts['versions']} | {shown} | {facts['runs']} | {facts['drops']} |\n"


def main(results: Sequence[str]) -> None:
    """Replace the table of the page by one with the rows of these results."""
    before, _, rest = PAGE.read_text().partition(START)
    rows = "".join(row(Path(path)) for path in sorted(results))
    PAGE.write_text(f"{before}{START}\n\n{HEAD}{rows}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main(sys.argv[1:])
