"""Examples of `docs/plug-in-your-agent.md` beside the agent itself: the demonstration, SB3, HTTP."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from agents.cli import main
from agents.commands import sb3
from tests.server_stub import calling, chat_stub

PAGE = Path(__file__).parents[3] / "docs" / "plug-in-your-agent.md"
TEXT = PAGE.read_text()
BLOCKS = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL).findall(TEXT)
COMMANDS = [line for line in TEXT.splitlines() if line.startswith("steptool ")]


def block(word: str) -> str:
    """The one Python block with `word` in it."""
    (found,) = [each for each in BLOCKS if word in each]
    return found


def command(*words: str) -> list[str]:
    """The one command line with these words in it, without `steptool`."""
    (found,) = [each for each in COMMANDS if all(word in each for word in words)]
    return shlex.split(found)[1:]


def test_the_agent_takes_part_in_the_demonstration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_agent.py").write_text(block("class WordMatcher"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    main([*command("demo", "my_agent:WordMatcher"), "--episodes", "4"])
    result = json.loads((tmp_path / "runs" / "demo" / "result.json").read_text())
    assert 0 <= result["my_agent:WordMatcher"]["pass_rate"] <= 1
    assert result["oracle"]["pass_rate"] == 1


def test_the_command_finds_an_agent_in_the_folder_that_it_is_run_from(tmp_path: Path) -> None:
    (tmp_path / "my_agent.py").write_text(block("class WordMatcher"))
    script = [sys.executable, "-P", "-c", "from agents.cli import main; main()"]  # -P: as of a script
    words = [*command("evaluate", "my_agent:WordMatcher"), "--episodes", "2"]
    subprocess.run([*script, *words], cwd=tmp_path, check=True, timeout=120)
    assert (tmp_path / "runs" / "mine" / "metrics.json").exists()


def test_the_command_for_stable_baselines3_is_read_as_it_is_printed() -> None:
    words = command("sb3", "depths")[1:]
    read = tyro.cli(sb3.Command, args=words)
    assert read.settings.algorithm == "maskable-ppo"
    assert read.settings.env_args == {"depths": {"1": 1, "2": 1}, "unsolvable": 0}


def test_the_command_for_a_model_over_http_works_as_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    reply = calling("Finish", return_type="give_answer", final_answer="42")
    with chat_stub(lambda _: reply) as stub:
        words = [word.replace("http://127.0.0.1:8001/v1", stub.url) for word in command("openai:MODEL", "base_url")]
        main([*words, "--episodes", "3"])
    assert len(stub.requests) == 3
    assert all(request["model"] == "MODEL" and request["tools"] for request in stub.requests)
    assert (tmp_path / "runs" / "model" / "metrics.json").is_file()
