"""Import directions: benchmarks -> agents -> steptool_env -> toolserver; the base install needs no torch."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("toolserver", "steptool_env", "agents", "benchmarks")
"""Each may import those before it."""
OF_PARTNERS = ("toolserver.mcp.", "steptool_env.integrations.")
"""Modules that need the package of a partner, and are imported only when asked for."""
LEARNING = ("torch", "transformers", "tokenizers", "peft", "accelerate", "stable_baselines3", "sb3_contrib")


def imported(path: Path) -> Iterator[str]:
    """Top-level names of every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def importing(package: str, names: set[str]) -> dict[str, set[str]]:
    """Files of a package that import some of the names, with these."""
    found = {path: names & set(imported(path)) for path in (ROOT / package).rglob("*.py")}
    return {str(path.relative_to(ROOT)): some for path, some in found.items() if some}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_those_below_it(package: str) -> None:
    assert not importing(package, set(PACKAGES[PACKAGES.index(package) + 1 :]))


@pytest.mark.parametrize("package", ["toolserver", "steptool_env"])
def test_the_base_packages_never_import_what_only_learning_needs(package: str) -> None:
    assert not importing(package, set(LEARNING))


def modules(package: str) -> list[str]:
    """Every module of a package, by its dotted name, except those that run when imported or need a partner."""
    names = (path.relative_to(ROOT).with_suffix("") for path in sorted((ROOT / package).rglob("*.py")))
    dotted = (".".join(name.parts).removesuffix(".__init__") for name in names if name.name != "__main__")
    return [name for name in dotted if not name.startswith(OF_PARTNERS)]


@pytest.mark.parametrize("package", ["toolserver", "steptool_env"])
def test_every_module_can_be_imported_without_torch(package: str) -> None:
    code = (
        "import importlib, sys\n"
        f"for name in {LEARNING!r}: sys.modules[name] = None\n"
        f"for name in {modules(package)!r}: importlib.import_module(name)\n"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_importing_the_environments_is_light() -> None:
    """Registration must not load the server, pandas-sized libraries or any data."""
    code = "import sys, steptool_env; print(sorted(sys.modules.keys() & {'fastapi', 'toolserver', 'httpx', 'torch'}))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_wheel_holds_every_package_but_the_benchmarks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    built = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(built) == set(PACKAGES) - {"benchmarks"}


def test_a_distribution_and_the_images_hold_the_licence_and_the_notice() -> None:
    """The licence asks whoever passes the work on to pass the notice on, which names the parts of others in it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    files = project["license-files"]
    assert set(files) == {"LICENSE", "NOTICE"}
    assert all((ROOT / name).is_file() for name in files)
    copied = re.findall(r"^COPY (pyproject\.toml .*) \./$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {*files, project["readme"]} <= set(copied[0].split())
    assert {f"!{name}" for name in copied[0].split()} <= set((ROOT / ".dockerignore").read_text().split())
