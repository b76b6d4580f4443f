"""Both console commands: one spelling of a flag, one style of errors, output for scripts."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agents.cli import COMMANDS
from agents.cli import main as steptool
from agents.commands.train import SHOWN
from steptool_env.stabletoolbench.sample import SAMPLE
from toolserver.cli import main as toolserver

ROOT = Path(__file__).parents[1]
SERVING = ("mcp", "serve-openenv", "serve-policy", "view")
OF_TOOLSERVER = (
    ("serve",),
    ("import", "stabletoolbench"),
    ("import", "complexfuncbench"),
    ("import", "archive"),
    ("export", "archive"),
    ("export", "stabletoolbench"),
    ("verify",),
    ("stats",),
)
OF_STEPTOOL = (*((name,) for name in sorted(COMMANDS) if name != "tasks"), ("tasks", "show"), ("tasks", "stats"))
ALL = [("toolserver", *words) for words in OF_TOOLSERVER] + [("steptool", *words) for words in OF_STEPTOOL]


def run(capsys: pytest.CaptureFixture[str], program: str, *words: object) -> tuple[int, str, str]:
    """Status, standard output and standard error of a command."""
    status = 0
    try:
        (toolserver if program == "toolserver" else steptool)([str(word) for word in words])
    except SystemExit as end:
        status = int(end.code or 0)
    return status, *capsys.readouterr()


def helped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """Help of a command on a screen that has room for one column of flags."""
    monkeypatch.setenv("COLUMNS", "100")
    flag = "--help-all" if words == ("steptool", "train") else "--help"
    return run(capsys, *words, flag)[1]


def flags_of(text: str) -> Iterator[str]:
    """Flags that a help text lists, without the negations of switches."""
    for line in text.splitlines():
        if line.startswith((" ", "│")):  # not the description, which may begin a line with a flag
            yield from re.findall(r"--[a-z][\w.-]*", line.lstrip("│ ").partition("  ")[0])[:1]


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_a_wrong_flag_ends_every_command_with_one_status(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, *words, "--no-such-flag")
    assert (status, out) == (2, "")
    assert "--no-such-flag" in err or "missing" in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert f"`{' '.join(words[:1])}" in err
    assert "--help` lists" in err


FLAGS = {
    ("steptool", "view", "--prot", "3"): (
        "no flag or word --prot, 3; perhaps --port INT; `steptool view --help` lists the flags"
    ),
    ("steptool", "evaluate", "--env", "X"): (
        "missing --agent NAME[:ARG], --out DIR; `steptool evaluate --help` lists the flags"
    ),
    ("steptool", "demo", "--episodes", "many"): (
        "--episodes 'many': must be a whole number; `steptool demo --help` lists the flags"
    ),
    ("steptool", "train", "--optim.lr", "fast"): (
        "--optim.lr 'fast': must be a number; `steptool train --help` lists the flags"
    ),
    ("steptool", "evaluate", "--env", "X", "--agent", "random", "--out", "a", "--episodes", "many"): (
        "--episodes 'many': must be a whole number; `steptool evaluate --help` lists the flags"
    ),
    ("steptool", "tasks", "stats", "--level", "nope"): (
        "--level 'nope': choose one of 'lite', 'standard', 'full'; `steptool tasks stats --help` lists the flags"
    ),
    ("steptool", "export", "nope", "runs", "--out", "a"): (
        "to 'nope': choose one of 'toolbench', 'openai', 'sharegpt', 'inspect'; `steptool export --help` lists the "
        "flags"
    ),
    ("steptool", "demo", "--out"): "--out: a value is missing; `steptool demo --help` lists the flags",
    ("steptool", "tasks", "frob"): (
        "no flag or word frob; choose one of show, sample, stats, page; `steptool tasks --help` lists the flags"
    ),
    ("steptool", "evalate"): "no command 'evalate'; perhaps evaluate; `steptool --help` lists the commands",
    ("toolserver", "serve", "--prot", "3"): (
        "no flag or word --prot, 3; perhaps --port INT; `toolserver serve --help` lists the flags"
    ),
    ("toolserver", "serve", "--port", "many"): (
        "--port 'many': must be a whole number; `toolserver serve --help` lists the flags"
    ),
    ("toolserver", "serve", "--world", "blue"): (
        "--world 'blue': must be a whole number; `toolserver serve --help` lists the flags"
    ),
    ("toolserver", "serve", "--rate-limit", "high"): (
        "--rate-limit 'high': must be a number; `toolserver serve --help` lists the flags"
    ),
    ("toolserver", "import", "archive", "x"): (
        "missing --cache DIR|URL; `toolserver import archive --help` lists the flags"
    ),
    ("toolserver", "import"): (
        "a command is missing; choose one of stabletoolbench, complexfuncbench, archive; "
        "`toolserver import --help` lists the flags"
    ),
    ("toolserver", "import", "stabletoolbenchh", "--cache", "x"): (
        "no flag or word stabletoolbenchh; choose one of stabletoolbench, complexfuncbench, archive; "
        "`toolserver import --help` lists the flags"
    ),
    ("toolserver", "export", "archives", "file", "--cache", "x"): (
        "no flag or word archives; choose one of archive, stabletoolbench; `toolserver export --help` lists the flags"
    ),
    ("toolserver", "verify"): "missing --cache DIR|URL; `toolserver verify --help` lists the flags",
}
"""Wrong words, and the line about them."""


@pytest.mark.parametrize("columns", ["40", "80", "200"])
@pytest.mark.parametrize("words", FLAGS, ids=" ".join)
def test_a_wrong_flag_is_named_with_its_remedy(
    words: tuple[str, ...], columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the same words on every screen."""
    monkeypatch.setenv("COLUMNS", columns)
    status, out, err = run(capsys, *words)
    assert (status, out, err) == (2, "", f"error: {FLAGS[words]}\n")


def test_a_wrong_flag_has_no_colours_where_a_terminal_asks_for_them() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agents.cli", "view", "--prot"],
        env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": "60", "PYTHONIOENCODING": "utf-8"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no flag or word --prot; perhaps --port INT; ")


@pytest.mark.parametrize("program", ["toolserver", "steptool"])
def test_an_unknown_command_is_an_error_and_no_command_is_a_question(
    program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, program, "no-such-command")
    assert (status, out) == (2, "")
    assert "no-such-command" in err
    status, out, err = run(capsys, program)
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: {program} ")


NONE = "no-such-place"
WRONG = {
    ("toolserver", "serve"): ["--cache", NONE, "--port", "0"],
    ("toolserver", "import", "stabletoolbench"): [NONE, "--cache", "cache"],
    ("toolserver", "import", "complexfuncbench"): [NONE, "--cache", "cache"],
    ("toolserver", "import", "archive"): [NONE, "--cache", "cache"],
    ("toolserver", "export", "archive"): ["file", "--cache", NONE],
    ("toolserver", "export", "stabletoolbench"): ["folder", "--cache", NONE],
    ("toolserver", "verify"): ["--cache", NONE],
    ("toolserver", "stats"): ["--cache", NONE],
    ("steptool", "data"): ["stabletoolbench", "--from", NONE],
    ("steptool", "demo"): ["--episodes", "0"],
    ("steptool", "eto"): ["--trajectories", NONE, "--out", "out"],
    ("steptool", "evaluate"): ["--env", NONE, "--agent", "random", "--out", "out"],
    ("steptool", "export"): ["openai", NONE, "--out", "out"],
    ("steptool", "mcp"): ["--task", "no-such-task"],
    ("steptool", "new"): ["."],
    ("steptool", "picture"): [NONE, NONE],
    ("steptool", "push"): [NONE, "--repo", "user/name"],
    ("steptool", "report"): [NONE],
    ("steptool", "retrieval"): ["--k", "0"],
    ("steptool", "sb3"): ["--out", "out", "--splits", NONE],
    ("steptool", "score"): ["--episodes", NONE, "--out", "out"],
    ("steptool", "serve-openenv"): ["--env", NONE],
    ("steptool", "serve-policy"): ["--checkpoint", NONE],
    ("steptool", "sft"): ["--out", "out", "--demonstrations", NONE],
    ("steptool", "tasks", "show"): ["no-such-task"],
    ("steptool", "tasks", "stats"): ["--count", "0"],
    ("steptool", "train"): ["--config", NONE],
    ("steptool", "view"): [NONE],
}
"""Words that are an error of the user's in each command."""


def test_every_command_has_an_error_to_try() -> None:
    assert set(WRONG) == set(ALL)


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_error_is_one_line_with_status_2(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a-file").touch()
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    try:
        status, out, err = run(capsys, *words, *WRONG[words])
    finally:  # `toolserver serve` hands its settings to its workers
        for name in set(os.environ) - set(before):
            del os.environ[name]
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_a_flag_has_one_spelling(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags that differ by dots, hyphens or a plural are one flag in two spellings."""
    spellings: dict[str, set[str]] = {}
    for words in ALL:
        for flag in flags_of(helped(capsys, monkeypatch, *words)):
            spellings.setdefault(flag.replace(".", "").replace("-", "").removesuffix("s"), set()).add(flag)
    known = {"envarg", "agentarg", "rewardarg", "env", "serverurl", "quiet", "json"}
    assert known <= spellings.keys()
    different = {"split": {"--split", "--splits"}, "reward": {"--reward", "--rewards"}, "tool": {"--tools"}}
    assert not [each for name, each in spellings.items() if len(each) > 1 and each != different.get(name)]


def test_the_help_of_train_lists_what_most_runs_change(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    short = set(flags_of(run(capsys, "steptool", "train", "--help")[1]))
    every = set(flags_of(run(capsys, "steptool", "train", "--help-all")[1]))
    assert len(SHOWN) <= 25
    assert len(short) == len(SHOWN) + 3  # --help, --quiet, --json
    assert short < every
    assert len(every) > 2 * len(SHOWN)
    assert {"--optim.lr", "--env-args", "--policy.checkpoint"} <= short
    assert "--help-all" in run(capsys, "steptool", "train", "--help")[1]
    assert "(default: final)" in run(capsys, "steptool", "train", "--algo", "final", "--help")[1]


def evaluation(out: Path) -> list[object]:
    return ["evaluate", "--env", "StepTool/ToolWorld-v0", "--env-args", "split=depth-2", "--agent", "oracle",
            "--episodes", 4, "--out", out]  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Folder with the runs `one` and `two`, and a cache."""
    for name in ("one", "two"):
        assert run(capsys, "steptool", *evaluation(tmp_path / name))[0] == 0
    assert run(capsys, "toolserver", "import", "stabletoolbench", SAMPLE, "--cache", tmp_path / "cache")[0] == 0
    return tmp_path


def results(runs: Path) -> dict[str, tuple[list[object], str]]:
    """Commands with a name that their result has."""
    return {
        "evaluate": (["steptool", *evaluation(runs / "new")], "pass_rate"),
        "score": (["steptool", "score", "--episodes", runs / "one", "--against", runs / "two", "--reward", "final",
                   "--out", runs / "scored"], "against"),
        "report": (["steptool", "report", runs / "one", runs / "two", "--out", runs / "page.html"], "runs"),
        "export": (["steptool", "export", "openai", runs / "one", "--out", runs / "exported"], "wrote"),
        "new": (["steptool", "new", runs / "project"], "files"),
        "retrieval": (["steptool", "retrieval"], "retrievers"),
        "demo": (["steptool", "demo", "--learner", "none", "--episodes", 3, "--out", runs / "demo"], "oracle"),
        "tasks show": (["steptool", "tasks", "show"], "oracle"),
        "tasks sample": (["steptool", "tasks", "sample", "--count", 2], "tasks"),
        "tasks stats": (["steptool", "tasks", "stats", "--count", 2], "splits"),
        "verify": (["toolserver", "verify", "--cache", runs / "cache"], "entries"),
        "stats": (["toolserver", "stats", "--cache", runs / "cache"], "provenance"),
        "archive": (["toolserver", "export", "archive", runs / "file", "--cache", runs / "cache"], "bytes"),
        "import": (["toolserver", "import", "stabletoolbench", SAMPLE, "--cache", runs / "other"], "calls"),
    }  # fmt: skip


def test_results_for_scripts(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output has the JSON alone; `-q` leaves nothing else."""
    for name, (words, key) in results(runs).items():
        status, out, err = run(capsys, *map(str, words), "--json")
        assert status == 0, (name, err)
        assert key in json.loads(out), name
    played = json.loads((runs / "new" / "metrics.json").read_text())
    status, out, err = run(capsys, "steptool", *evaluation(runs / "again"), "-q", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == {"out": str(runs / "again"), **played}


def test_quiet_commands_print_nothing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, (words, _) in results(runs).items():
        status, out, err = run(capsys, *map(str, words), "--quiet")
        assert (status, out, err) == (0, "", ""), name


def test_found_problems_are_a_result(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1 is not that of an error, and the result has the problems."""
    with suppress(FileNotFoundError):
        database = next(path for path in (runs / "cache").rglob("*.db"))
        text = database.read_bytes()
        database.write_bytes(text.replace(b'{"error"', b'{"eRRor"', 1))
    status, out, _ = run(capsys, "toolserver", "verify", "--cache", runs / "cache", "--json")
    assert status == 1
    assert json.loads(out)["problems"]


def test_a_reader_that_ends_early_is_no_failure_of_the_command() -> None:
    command = f"{sys.executable} -m agents.cli tasks sample --count 400 | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("command", ["toolserver.cli --help", "agents.cli tasks stats --count 2"])
def test_characters_that_the_encoding_of_the_output_lacks_are_escaped(command: str) -> None:
    """The first prints `•`, the second `–`, which Latin-1 does not have."""
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1:strict", "COLUMNS": "100"}
    words = [sys.executable, "-m", *command.split()]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    assert rb"\u20" in done.stdout


def test_a_printed_command_quotes_a_folder_with_a_blank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, archive = tmp_path / "my run", tmp_path / "my record.zst"
    assert f"steptool report '{out}' OTHER" in run(capsys, "steptool", *evaluation(out))[1]
    run(capsys, "toolserver", "import", "stabletoolbench", SAMPLE / "server", "--cache", tmp_path / "cache")
    shown = run(capsys, "toolserver", "export", "archive", archive, "--cache", tmp_path / "cache")[1]
    assert f"toolserver import archive '{archive}' --cache DIR" in shown
