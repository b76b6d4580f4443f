"""The page in Chromium: content, live updates, filters, forks, keyboard, accessibility, no error in the console."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from steptool_env.trajectories.trajectories import TrajectoryWriter, read_trajectories
from tests.agents.view.recordings import HOSTILE, evaluate
from tests.agents.view.server import serve
from tests.agents.view.test_run_folders import training
from tests.steptool_env.sample_episodes import answered, called, task, trajectory
from toolserver.testing import ServerProcess

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("playwright") is None, reason="needs Playwright: pip install playwright axe-playwright-python"
    ),
]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("browser") / "runs"
    for seed in (0, 1):
        training(root / f"train-{seed}", [200, 400 + seed], seed=seed)
    evaluate(root / "oracle", "split=depth-3", "reward=steptool", agent="oracle")
    evaluate(root / "greedy", "split=depth-3", "reward=steptool")
    evaluate(root / "recorded", env="StepTool/StableToolBench-v0")
    hostile = called(HOSTILE, HOSTILE)
    hostile.observation, hostile.action.text, hostile.reward_terms = HOSTILE, HOSTILE, {HOSTILE: 1.0}
    with TrajectoryWriter(root / "hostile" / "trajectories.jsonl") as writer:
        writer.write(trajectory(hostile, answered(HOSTILE), of=task(HOSTILE, task_id=HOSTILE), is_solved=1.0))
    with (root / "hostile" / "trajectories.jsonl").open("ab") as file:
        file.write(HOSTILE.encode() + b"\n")
    return root


@pytest.fixture(scope="module")
def address(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve(root, tmp_path_factory.mktemp("cache")) as (address, _):
        yield address


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A tool server with its pages."""
    with ServerProcess(["--world", "0", "--ui"]) as running:
        yield running.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def errors() -> list[str]:
    return []


@pytest.fixture
def page(browser: Any, address: str, errors: list[str]) -> Iterator[Any]:
    yield from opened(browser, address, errors)


def opened(
    browser: Any, address: str, errors: list[str], size: str = "desktop", scheme: str = "light"
) -> Iterator[Any]:
    """A page whose console must stay empty and which asks no other host."""
    width, height = SIZES[size]
    context = browser.new_context(
        base_url=address, viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.on("console", lambda message: errors.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: request.url.startswith(address) or errors.append(request.url))
    yield page
    assert page.evaluate("window.hacked") is None
    context.close()
    assert not errors


def settle(page: Any, place: str) -> None:
    """Open a page and wait until its live connection stands and nothing is being loaded."""
    page.goto(place)
    page.get_by_text("live", exact=True).wait_for()
    for passing in (page.get_by_text("Drawing…"), page.locator(".htmx-request")):
        passing.wait_for(state="detached")


def cells(page: Any, run: str) -> str:
    text: str = page.get_by_role("row").filter(has_text=run).first.inner_text()
    return " ".join(text.split())


PAGES = [
    "/",
    "/?run=runs/train-0&run=runs/train-1&by_seed=1",
    "/episodes",
    "/episodes?ending=broken",
    "/episode?at=runs/greedy:1&at=runs/oracle:1",
    "/episode?at=runs/recorded:1",
    "/episode?at=runs/hostile:1",
    "/fork?at=runs/greedy:1&step=0&call=hello",
    "/tasks",
    "/task?task=w0-lite-validation-0&call=hello",
    "/tools",
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("place", PAGES)
def test_every_page_is_accessible(browser: Any, address: str, place: str, size: str, scheme: str) -> None:
    """axe-core finds no violation with all parts unfolded, and the page is not wider than the screen."""
    for page in opened(browser, address, [], size, scheme):
        settle(page, place)
        check_accessible(page, size)


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_pages_of_a_server_are_accessible(browser: Any, server: str, size: str, scheme: str) -> None:
    """From the first page to a call of a tool and a call in a task."""
    for page in opened(browser, server, [], size, scheme):
        page.goto("/ui")
        check_accessible(page, size)
        page.get_by_role("row").nth(1).get_by_role("link").click()
        page.get_by_role("button", name="Call", exact=True).click()
        page.get_by_text('{"error": "').wait_for()
        check_accessible(page, size)
        page.get_by_role("link", name="Tasks").click()
        check_accessible(page, size)
        page.get_by_role("row").nth(1).get_by_role("link").click()
        page.get_by_role("button", name="Ask the tools").click()
        page.get_by_text("29 calls left").wait_for()
        check_accessible(page, size)


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark"), ("phone", "light")])
def test_a_report_is_accessible(browser: Any, root: Path, size: str, scheme: str) -> None:
    """A report is a file without a server, and has the same plans and steps."""
    for page in opened(browser, "file://", [], size, scheme):
        page.goto((root / "greedy" / "report.html").as_uri())
        page.get_by_role("link", name="recall").click()
        page.get_by_text("Mean share of the needed functions").wait_for()
        check_accessible(page, size)


def check_accessible(page: Any, size: str) -> None:
    """Check with all parts unfolded that axe-core finds nothing, and that the page is no wider than the screen."""
    if find_spec("axe_playwright_python") is None:
        pytest.skip("needs axe-core: pip install axe-playwright-python")
    from axe_playwright_python.sync_playwright import Axe

    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_run_that_trains_is_followed(page: Any, root: Path) -> None:
    settle(page, "/")
    assert "400 of 1,000" in cells(page, "runs/train-0")
    page.get_by_label("Compare runs/train-0").check()
    page.locator("#curves").get_by_text("Of the 1 ticked runs").wait_for()
    assert "run=runs%2Ftrain-0" in page.url
    record = {"calls": 600, "iteration": 3, "rollout/is_solved": 0.9, "eval/is_solved": 0.75}
    with (root / "train-0" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    page.get_by_text("600 of 1,000").wait_for()
    assert "75.0 %" in cells(page, "runs/train-0")
    assert page.get_by_label("Compare runs/train-0").is_checked()
    page.get_by_role("img", name="75.0 % at 600 calls").wait_for()


def test_the_demonstration_is_seen_to_learn(browser: Any, tmp_path: Path) -> None:
    """As a newcomer sees it: the command prints an address, whose curves grow without a reload."""
    words = ["demo", "--out", str(tmp_path / "demo"), "--episodes", "2"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "agents.cli", *words], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "watch the policies learn" in line)
        address = re.findall(r"http://127\.0\.0\.1:\d+", line)[0]
        for page in opened(browser, address, []):
            page.set_default_timeout(120_000)
            page.goto("/")
            first = curve_calls(page, 1)
            assert curve_calls(page, first + 1) > first
    finally:
        process.terminate()
        process.communicate(timeout=30)


def curve_calls(page: Any, least: int) -> int:
    """Wait until the curve of training reaches some calls. Return its last number of calls."""
    shown = "[...document.querySelectorAll('[role=img]')].map((each) => each.getAttribute('aria-label') || '')"
    calls = (
        f"{shown}.filter((each) => each.startsWith('rollout/')).map((each) => "
        "Number((each.match(/at ([0-9,]+) calls/) || [0, '0'])[1].replaceAll(',', '')))"
    )
    page.wait_for_function(f"() => Math.max(0, ...{calls}) >= {least}")
    return int(page.evaluate(f"Math.max(0, ...{calls})"))


def test_a_new_run_appears(page: Any, root: Path) -> None:
    settle(page, "/")
    training(root / "newcomer", [100])
    page.get_by_label("Compare runs/newcomer").wait_for()


def test_episodes_appear_as_they_are_written(page: Any, root: Path) -> None:
    (episode, *_) = read_trajectories(root / "oracle" / "trajectories.jsonl").trajectories
    with TrajectoryWriter(root / "growing" / "trajectories.jsonl") as writer:
        writer.write(episode)
        settle(page, "/episodes?run=runs/greedy")
        page.goto("/episodes")
        page.get_by_role("cell", name="runs/growing").first.wait_for()
        settle(page, "/episodes?run=runs/growing")
        page.get_by_role("heading", name="1 episode").wait_for()
        writer.write(episode)
        page.get_by_role("heading", name="2 episodes").wait_for()


def test_the_filter_follows_what_is_typed(page: Any) -> None:
    settle(page, "/episodes")
    page.get_by_label("Ending").select_option("solved")
    page.get_by_role("heading", name="episodes, 1 to").wait_for()
    page.wait_for_url("**/episodes?ending=solved")
    page.get_by_label("Text").press_sequentially("nosuchword")
    page.get_by_text("No episode passes this filter").wait_for()
    page.get_by_role("status").get_by_text("0 episodes").wait_for()
    page.get_by_label("Text").fill("")
    page.get_by_label("Run", exact=True).select_option("runs/oracle")
    page.get_by_role("heading", name="6 episodes").wait_for()
    assert "run=runs%2Foracle" in page.url
    page.reload()
    assert page.get_by_label("Ending").input_value() == "solved"
    page.get_by_role("heading", name="6 episodes").wait_for()


def test_ticked_episodes_are_shown_side_by_side(page: Any) -> None:
    settle(page, "/episodes?task=w0-lite-depth-3-0")
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="side by side").click()
    page.get_by_role("heading", name="runs/greedy, line 1").wait_for()
    page.get_by_role("heading", name="runs/oracle, line 1").wait_for()


def test_a_fork_answers_another_call(page: Any, root: Path) -> None:
    """The right first call in place of a wrong one fulfils a call of the gold plan, and a second call goes on."""
    good = read_trajectories(root / "oracle" / "trajectories.jsonl").trajectories[0].steps
    settle(page, "/episode?at=runs/greedy:1")
    page.get_by_text("Fork here: another call instead of call 1").click()
    first = page.locator("#e1-call-1")
    first.get_by_label("Call, as the model writes it").fill(good[0].action.text)
    first.get_by_role("button", name="Ask the tools").click()
    first.get_by_text("Exact: played again from its seed").wait_for()
    first.locator(".forked").get_by_text("✓ gold call").wait_for()
    first.get_by_label("Next call of this fork").fill(good[1].action.text)
    first.locator(".forked").get_by_role("button").click()
    first.locator(".forked article").nth(1).wait_for()
    first.get_by_role("link", name="Permalink of this fork").click()
    page.get_by_role("heading", name="Fork of task").wait_for()
    assert page.locator("article").count() == 2


def test_a_tool_is_found_and_tried(page: Any) -> None:
    settle(page, "/tools")
    page.get_by_label("Text").fill("hotel")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("row").nth(1).get_by_role("link").click()
    page.get_by_role("button", name="Call", exact=True).click()
    page.get_by_text('{"error": "').wait_for()


def test_a_task_is_played_by_hand(page: Any, root: Path) -> None:
    first = read_trajectories(root / "oracle" / "trajectories.jsonl").trajectories[0]
    settle(page, "/tasks?split=depth-3")
    page.get_by_role("link", name=first.task.id, exact=True).click()
    for step in first.steps:
        page.get_by_label("as a model writes it").fill(step.action.text)
        page.get_by_role("button", name="Ask the tools").click()
    page.get_by_text("solved, answered after").wait_for()


def test_a_fork_that_cannot_be_made_is_explained_in_place(page: Any) -> None:
    settle(page, "/fork?at=runs/greedy:1&step=0&call=x")
    page.evaluate("document.querySelector('.fork-result input[name=step]').value = '99'")
    page.get_by_label("Next call of this fork").fill("x")
    page.get_by_role("button", name="Ask the tools").click()
    page.get_by_role("alert").get_by_text("at=99").wait_for()


def test_keys_go_from_episode_to_episode(page: Any) -> None:
    settle(page, "/episode?at=runs/oracle:2")
    page.keyboard.press("j")
    page.wait_for_url("**/episode?at=runs%2Foracle%3A3")
    page.keyboard.press("k")
    page.wait_for_url("**/episode?at=runs%2Foracle%3A2")
    page.get_by_text("Fork here: another call instead of call 1").click()
    page.get_by_label("Call, as the model writes it").first.press_sequentially("jjj")
    assert "oracle%3A2" in page.url


def test_the_keyboard_reaches_what_the_mouse_does(page: Any) -> None:
    settle(page, "/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.get_by_text("Of the 1 ticked runs").wait_for()


def test_the_server_ends_while_pages_are_open(browser: Any, root: Path, tmp_path: Path) -> None:
    """Ctrl-C does not wait for event streams; the page says that it is no longer connected."""
    with serve(root, tmp_path) as (address, _):
        page = browser.new_page(base_url=address)
        settle(page, "/")
    page.get_by_text("not connected").wait_for()
    page.close()
