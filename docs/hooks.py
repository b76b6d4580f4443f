"""MkDocs hooks: pages for the API reference, the result files and the files at the root; links between all of them.

Links in a Markdown file are relative to its place in the repository. The hooks replace them by links between pages of
the site.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PACKAGES = ("steptool_env", "agents", "toolserver", "benchmarks")
COPIED = {
    "README.md": "getting-started.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "CITATION.cff": "CITATION.cff",
    "LICENSE": "LICENSE",
    "NOTICE": "NOTICE",
    "compose/haproxy.cfg": "haproxy.cfg",
    **{f"examples/{path.name}": f"examples/{path.name}" for path in sorted((ROOT / "examples").glob("*.ipynb"))},
}
"""Pages made of files outside `docs/`, by the path of the file."""
RESULTS = "benchmarks/results"

_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def modules(folder: Path) -> list[str]:
    """Dotted names of the modules in one folder, the package's own first."""
    names = (path.relative_to(ROOT).with_suffix("").parts for path in folder.glob("*.py"))
    return sorted(".".join(name).removesuffix(".__init__") for name in names if name[-1] != "__main__")


def package_folders() -> Iterator[Path]:
    """Folders that hold modules, package by package."""
    for package in PACKAGES:
        yield from sorted({path.parent for path in (ROOT / package).rglob("*.py")})


def api_page(folder: Path) -> str:
    """Path of the reference page of a folder."""
    return f"api/{folder.relative_to(ROOT).as_posix().replace('/', '.')}.md"


def site_path(path: str) -> str:
    """Path in the site of a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.startswith(f"{RESULTS}/"):
        return path.removeprefix("benchmarks/")
    if path.endswith(".py"):
        return api_page((ROOT / path).parent)
    return COPIED.get(path, path)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the generated pages to the navigation."""
    assert config.nav is not None
    results = sorted((ROOT / RESULTS).glob("*.md"))
    config.nav.append({"Results": [{path.stem: site_path(f"{RESULTS}/{path.name}")} for path in results]})
    pages: dict[str, list[dict[str, str]]] = {package: [] for package in PACKAGES}
    for folder in package_folders():
        dotted = ".".join(folder.relative_to(ROOT).parts)
        pages[dotted.partition(".")[0]].append({dotted: api_page(folder)})
    config.nav.append({"API reference": [{package: each} for package, each in pages.items()]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that have no file below `docs/`."""
    for path in (*COPIED, *(f"{RESULTS}/{each.name}" for each in sorted((ROOT / RESULTS).iterdir()))):
        if (ROOT / path).is_file():
            files.append(File.generated(config, site_path(path), abs_src_path=str(ROOT / path)))
    for folder in package_folders():
        package, *others = modules(folder)
        title = f"::: {package}\n    options:\n      heading_level: 1"
        text = "\n\n".join((title, *(f"::: {each}" for each in others)))
        files.append(File.generated(config, api_page(folder), content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Replace links between files of the repository by links between pages of the site."""
    if (source := page.file.abs_src_path) is None:
        return markdown
    here = Path(source).relative_to(ROOT).parent.as_posix()

    def replace(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(here, match[1]))
        return posixpath.relpath(site_path(target), posixpath.dirname(page.file.src_uri) or ".")

    parts = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(replace, part) for part in parts)
