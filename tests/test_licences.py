"""The page of licences lists every package that an installation gets, as `constraints.txt` pins it."""

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
UNPINNED = re.compile(r"setuptools|async-timeout|triton|cuda-.*|nvidia-.*")
"""Packages that only some Pythons or builds of PyTorch bring; pins would be wrong on the others."""

_spec = spec_from_file_location("licences", ROOT / "docs" / "licences.py")
assert _spec is not None
assert _spec.loader is not None
licences = module_from_spec(_spec)
_spec.loader.exec_module(licences)


def listed() -> dict[str, tuple[str, str]]:
    """Version and licence of each row, by canonical name."""
    lines = re.findall(r"^\| ([\w.-]+) \| ([\w.]+) \| (.+) \|$", licences.PAGE.read_text(), re.MULTILINE)
    return {canonicalize_name(name): (version, licence) for name, version, licence in lines if name != "package"}


def test_every_package_is_pinned_and_listed_with_its_version() -> None:
    pinned, page = licences.pins(), listed()
    missing = {name for name in licences.required() if name not in page and not UNPINNED.fullmatch(name)}
    assert not missing, "pin them in constraints.txt and run `make licences`"
    assert {name: version for name, (version, _) in page.items()} == {name: pinned[name][1] for name in page}


def test_every_licence_is_known_and_permits_use_in_other_programs() -> None:
    page = listed()
    named = {name: licences.licence(name) for name in licences.required() if name in page}
    assert named == {name: page[name][1] for name in named}, "run `make licences`"
    assert not {name: text for name, text in named.items() if text == "unknown" or re.search(r"\bA?L?GPL", text)}


def test_a_dependency_that_is_added_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip` is installed, and no extra brings it."""
    direct = licences.direct
    monkeypatch.setattr(licences, "direct", lambda extra: [*direct(extra), licences.Requirement("pip")])
    assert "pip" in licences.required().keys() - listed().keys()
