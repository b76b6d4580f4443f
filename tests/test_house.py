"""House rules: no import circles, sizes of folders and modules, settings without torch, names, language.

Import directions are checked in test_imports.py.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("toolserver", "steptool_env", "agents", "benchmarks")

FILES_PER_FOLDER = 15
LINES_PER_MODULE = 400
PPO = ("trainer", "advantages/gae", "losses", "optimizer")
"""Modules of `agents/training` in which PPO is read from top to bottom."""
LINES_OF_PPO = 700

OLD_NAMES = re.compile(
    r"ALONE|Admission|Apprentice|Dead|Delta|Dispatcher|EpisodeSource|FrontDoor|Grammar|HotPath|Known|Learner|Meter"
    r"|Offer|Patience|RecalledResolver|RecordingResolver|Scene|Skin|Slots|StaticGenerator|Supply|Updater|Waiting|Wire|WorldEpisode"
    r"|_Draft|_LIVE|_Match|_Stand|_WAITING|_hands|alike|credited|demo_numeric|end_sum|entropy_coef|gold_of|guests|idioms|kin|lam"
    r"|lam_token|lessons|obstruct|strike|told|value_coef|value_trunk|whiten"
)
"""Identifiers that were replaced by the field's terms; none is ambiguous."""
OLD_MODULES = frozenset(
    {"computes", "delta", "finding", "listings", "makers", "market", "ranking", "reward_truth", "streams", "writes"}
)
"""Names of modules that were replaced by the field's terms."""
SHADOWS = frozenset({"agents/logging.py", "agents/openai.py"})
"""Modules with the names of well-known ones."""

QUESTION = re.compile(r"(What|Who|How|Whether|Where|Of|That|Why)\b")
"""First word of a docstring that is a clause instead of a noun phrase or an imperative."""
FIELD = re.compile(r"^\s+\w+: Of\b", re.MULTILINE)
"""Entry of an `Args:` or `Attributes:` section that has no noun."""
ODD = re.compile(
    r"\b(an own|anew|(that )?is none of|that is none|knows? nothing of|takes? note of|numeric twin)\b", re.IGNORECASE
)
"""Phrases that are not plain technical English, or not the term of the documentation."""


@cache
def sources() -> dict[str, tuple[Path, str, ast.Module]]:
    """File, text and syntax tree of every module of the packages, by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text()
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = (path.relative_to(ROOT), text, ast.parse(text))
    return found


@cache
def all_files() -> tuple[tuple[Path, str, ast.Module], ...]:
    """File, text and syntax tree of every module of the packages and of the tests."""
    tests = [(path, path.read_text()) for path in sorted((ROOT / "tests").rglob("*.py"))]
    return (*sources().values(), *((path.relative_to(ROOT), text, ast.parse(text)) for path, text in tests))


def dependencies(module: str) -> Iterator[str]:
    """Modules of the packages that a module imports anywhere: at the top, in a function, for a type checker."""
    for node in ast.walk(sources()[module][2]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in sources())
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{module}: relative import"
            assert not node.level, f"{module}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if (target := inner if inner in sources() else node.module) in sources():
                    yield target


def circle(graph: dict[str, list[str]]) -> list[str]:
    """Nodes of one circle of a directed graph in order, the first again at the end; empty where it has none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        nodes: list[str] = error.args[1]
        return nodes[::-1]
    return []


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring: of the module, classes, functions, and of attributes below their assignment."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            below = (after for before, after in pairwise(node.body) if isinstance(before, ast.Assign | ast.AnnAssign))
            for each in (*node.body[:1], *below):
                match each:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        yield each.lineno, text


def tokens(text: str, kind: int) -> Iterator[tuple[int, str]]:
    """Line and text of every token of a kind of a module."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == kind:
            yield token.start[0], token.string


def test_a_circle_is_found() -> None:
    assert circle({"a": ["b", "c"], "b": ["d"], "c": ["b"], "d": ["c"]}) == ["b", "d", "c", "b"]
    assert circle({"a": ["b", "c"], "b": ["d"], "c": ["b", "d"], "d": []}) == []


def test_no_modules_import_each_other_in_a_cycle() -> None:
    graph = {module: sorted(set(dependencies(module)) - {module}) for module in sources()}
    assert not circle(graph)


def test_no_folders_of_agents_import_each_other_in_a_cycle() -> None:
    """The modules beside the folders are left out: the registry and the command line import many of them."""
    graph: dict[str, set[str]] = {}
    for module in sources():
        edges = {tuple(name.split(".")[:2]) for name in (module, *dependencies(module)) if name.startswith("agents.")}
        folders = {folder for _, folder in edges if (ROOT / "agents" / folder).is_dir()}
        if module.startswith("agents.") and (own := module.split(".")[1]) in folders:
            graph.setdefault(own, set()).update(folders - {own})
    assert graph["training"]
    assert not circle({folder: sorted(targets) for folder, targets in graph.items()})


def test_training_settings_load_no_torch() -> None:
    code = "import sys, agents.training.config as c, agents.training.sft_config; c.make_config({'algo': 'archer'}); "
    code += "print(sorted(sys.modules.keys() & {'torch', 'transformers'}))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_no_folder_has_too_many_modules() -> None:
    paths = [path for path, _, _ in sources().values() if path.name != "__init__.py"]
    sizes = Counter(str(path.parent) for path in paths)
    assert not {folder for folder, size in sizes.items() if size > FILES_PER_FOLDER}


def test_no_module_is_too_long() -> None:
    lengths = {str(path): text.count("\n") for path, text, _ in all_files()}
    assert not {path: length for path, length in lengths.items() if length > LINES_PER_MODULE}


def test_ppo_is_read_in_four_short_files() -> None:
    files = [f"{module}.py" for module in PPO]
    assert sum((ROOT / "agents" / "training" / file).read_text().count("\n") for file in files) <= LINES_OF_PPO
    page = (ROOT / "docs" / "algorithms.md").read_text()
    assert [file for file in re.findall(r"^\d\. `([\w/.]+)`", page, re.MULTILINE) if file in files] == files


def test_no_old_name_is_left() -> None:
    wrong = [
        f"{path}:{line}: {name}"
        for path, text, _ in all_files()
        for line, name in tokens(text, tokenize.NAME)
        if OLD_NAMES.fullmatch(name)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_old_module_is_left() -> None:
    paths = [path for path, _, _ in sources().values()]
    assert not [str(path) for path in paths if path.stem in OLD_MODULES or str(path) in SHADOWS]


def test_docstrings_begin_with_a_noun_or_an_imperative() -> None:
    wrong = [
        f"{path}:{line}: {text.lstrip().splitlines()[0]}"
        for path, _, tree in all_files()
        for line, text in docstrings(tree)
        if QUESTION.match(text) or FIELD.search(text)
    ]
    assert not wrong, "\n".join(wrong)


def test_docstrings_and_comments_are_plain_english() -> None:
    wrong = [
        f"{path}:{line}: {match[0]}"
        for path, text, tree in all_files()
        for line, words in (*docstrings(tree), *tokens(text, tokenize.COMMENT))
        for match in ODD.finditer(words)
    ]
    assert not wrong, "\n".join(wrong)


def test_result_files_have_the_terms_of_the_documentation() -> None:
    pages = sorted((ROOT / "benchmarks" / "results").glob("*.md"))
    assert not [f"{page.name}: {match[0]}" for page in pages for match in ODD.finditer(page.read_text())]


def test_the_page_on_architecture_names_files_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.partition("## Where to look")[2].partition("\n## ")[0]
    named = re.findall(r"`([\w/]+\.py)`", table)
    assert len(named) > 10
    assert not [path for path in named if not (ROOT / path).is_file()]


def test_the_page_on_architecture_names_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    folders = [init.parent for package in PACKAGES for init in (ROOT / package).rglob("__init__.py")]
    named = [(folder, f"| `{folder.relative_to(ROOT / folder.relative_to(ROOT).parts[0])}/` |") for folder in folders]
    assert not [str(folder) for folder, row in named if folder.name not in PACKAGES and row not in page]
