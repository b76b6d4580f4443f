"""Pages of the application, without a browser: content, escaping, headers, read-only behaviour."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from agents.view.app import create_app
from steptool_env.trajectories.trajectories import TrajectoryWriter, read_trajectories
from steptool_env.types import Task
from tests.agents.view.recordings import HOSTILE, evaluate, open_workspace
from tests.agents.view.test_run_folders import training
from tests.steptool_env.sample_episodes import answered, called, malformed, task, trajectory
from tests.toolserver.apis import WEATHER
from tests.toolserver.serving import make_cache
from toolserver.cache import ResponseCache
from toolserver.cache.catalog_store import save_catalog
from toolserver.catalog.api_schema import ApiSpec, Provenance, ToolCall, encode_body
from toolserver.catalog.catalog import Catalog


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training, two evaluations of the same tasks, one of recorded tools, and a hostile file with broken lines."""
    root = tmp_path_factory.mktemp("view") / "runs"
    training(root / "train", [200, 400])
    evaluate(root / "oracle", "split=validation", "reward=steptool", "faults=mild", agent="oracle")
    evaluate(root / "greedy", "split=validation", "reward=steptool", "faults=mild")
    evaluate(root / "recorded", env="StepTool/StableToolBench-v0")
    hostile = called(HOSTILE, HOSTILE, **{HOSTILE: HOSTILE})
    hostile.observation, hostile.action.text, hostile.reward_terms = HOSTILE, HOSTILE, {HOSTILE: 1.0}
    bad: Task = task(HOSTILE, task_id=HOSTILE, suite=HOSTILE, relevant=(HOSTILE,))
    with TrajectoryWriter(root / "hostile" / "trajectories.jsonl") as writer:
        writer.write(trajectory(hostile, malformed(f"\ud800{HOSTILE}"), answered(HOSTILE), of=bad, is_solved=1.0))
    with (root / "hostile" / "trajectories.jsonl").open("ab") as file:
        file.write(HOSTILE.encode() + b"\n\xff\n")
    (root / "hostile" / "run.json").write_text('{"agent": "</td><script>window.hacked = 1</script>"}')
    return root


@pytest.fixture(scope="module")
def client(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    workspace = open_workspace(root, tmp_path_factory.mktemp("cache"))
    recorded = tmp_path_factory.mktemp("recorded")
    spec = ApiSpec("c", "t", "a", HOSTILE)
    body = encode_body("", {"text": HOSTILE})
    with ResponseCache(recorded) as cache:
        call = ToolCall("c", "t", "a", {"q": HOSTILE})
        cache.put(call, body, provenance=Provenance.GENERATED, source=HOSTILE, recorded_at="2026-01-01")
    save_catalog(Catalog([spec]), recorded)
    with TestClient(create_app(workspace, cache=recorded), base_url="http://127.0.0.1") as client:
        yield client


class Tags(HTMLParser):
    """Names of the tags of a page and of all of their attributes, as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [name for name, _ in attrs]


def text_of(page: str) -> str:
    """The text of a page without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).split())


EVERY_PAGE = [
    "/",
    "/runs/table",
    "/runs/curves",
    "/runs/curves?by_seed=1&metric=" + quote(HOSTILE),
    "/episodes",
    "/episodes?text=" + quote(HOSTILE),
    "/episodes/table?run=runs/hostile",
    "/episode?at=runs/hostile:1",
    "/episode?at=runs/hostile:1&at=runs/oracle:1",
    "/episode?at=runs/oracle:1&at=runs/greedy:1",
    "/episode?at=runs/recorded:1",
    "/episode?at=" + quote(HOSTILE),
    "/episode?at=runs/hostile:2",
    "/fork?at=runs/oracle:1&step=0&call=" + quote(HOSTILE),
    "/fork?at=runs/hostile:1&step=0&call=x",
    "/tasks",
    "/tasks?split=" + quote(HOSTILE),
    "/task?task=w0-lite-validation-0&call=" + quote(HOSTILE),
    "/task?task=" + quote(HOSTILE),
    "/tools?text=" + quote(HOSTILE),
    "/tools?source=" + quote(HOSTILE),
    "/tool?source=cache&category=c&tool=t&api=a&arguments=" + quote(HOSTILE),
    "/tool?source=lite&category=" + quote(HOSTILE) + "&tool=t&api=a",
]


@pytest.mark.parametrize("address", EVERY_PAGE)
def test_text_of_models_and_tools_stays_text(client: TestClient, address: str) -> None:
    tags = Tags(client.get(address).text)
    assert "img" not in tags.names
    assert not [name for name in tags.attributes if name.startswith("on")]
    assert tags.names.count("script") in {0, 2}
    assert "}}" not in "".join(tags.attributes)


@pytest.mark.parametrize("address", [*EVERY_PAGE, "/episode/line?at=runs/hostile:1", "/static/view.js", "/nothing"])
def test_every_response_has_the_policy(client: TestClient, address: str) -> None:
    headers = client.get(address).headers
    policy = headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "default-src 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    for name in ("unsafe-eval", "http:", "https:", "data:", "*"):
        assert name not in policy


def test_nothing_comes_from_another_host(client: TestClient) -> None:
    for address in EVERY_PAGE:
        for place in re.findall(r'(?:src|href|action|hx-get)="([^"]*)"', client.get(address).text):
            assert place.startswith(("/", "#")), place
            assert not place.startswith("//")


def test_the_hostile_line_is_shown_as_text_of_its_own(client: TestClient) -> None:
    answer = client.get("/episode/line?at=runs/hostile:2")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text == HOSTILE + "\n"


def test_another_site_cannot_read_the_page_through_its_own_name(client: TestClient) -> None:
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/", headers={"host": "localhost"}).status_code == 200


@pytest.mark.parametrize(
    ("site", "kind", "status"),
    [
        ("cross-site", "image", 403),
        ("cross-site", "iframe", 403),
        ("cross-site", "empty", 403),
        ("cross-site", None, 403),
        ("cross-site", "document", 200),  # a link
        ("same-site", "empty", 200),
        ("same-origin", "style", 200),
        ("none", "document", 200),
        (None, None, 200),
    ],
)
def test_another_site_cannot_make_the_page_work(
    client: TestClient, site: str | None, kind: str | None, status: int
) -> None:
    """As by an image whose address is that of a world of its own choice."""
    given = {"sec-fetch-site": site, "sec-fetch-dest": kind}
    headers = {name: value for name, value in given.items() if value is not None}
    answer = client.get("/tools?source=lite&world_seed=0", headers=headers)
    assert answer.status_code == status
    assert "content-security-policy" in answer.headers


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
@pytest.mark.parametrize("address", ["/", "/episodes", "/episode", "/fork", "/events"])
def test_nothing_can_be_written(client: TestClient, method: str, address: str) -> None:
    assert getattr(client, method)(address).status_code == 405


def test_the_table_of_runs(client: TestClient) -> None:
    text = text_of(client.get("/").text)
    assert "runs/train running iteration 3 steptool 0 practice → validation progress – 400 of 1,000 20.0 %" in text
    assert "11.2 % to 33.0 % eval/is_solved, 50 episodes f00d 20 0:00:30" in text
    assert "runs/oracle finished" in text
    assert "runs/hostile 2 broken lines" in text
    assert "different panels" in text


def test_ticked_runs_stay_ticked_in_an_update(client: TestClient) -> None:
    page = client.get("/runs/table?run=runs/train").text
    assert page.count("checked") == 1
    assert re.search(r'value="runs/train"[^>]*checked', page)


def test_curves_have_a_text(client: TestClient) -> None:
    answer = client.get("/runs/curves?run=runs/train")
    assert 'role="img" aria-label="eval/is_solved. steptool: 20.0 % at first' in answer.text
    assert answer.headers["hx-replace-url"] == "/?run=runs%2Ftrain"


def test_filters_and_permalinks(client: TestClient) -> None:
    page = client.get("/episodes?run=runs/oracle&run=runs/greedy&ending=solved").text
    text = text_of(page)
    assert re.search(r"(\d+) episodes, 1 to \1 beside", text)
    assert "runs/hostile" not in text.partition("Ended")[2]
    (first, *_) = re.findall(r'href="(/episode\?at=[^"]*)"', page)
    assert client.get(unescape(first)).status_code == 200
    assert "No episode passes this filter" in client.get("/episodes?text=nosuchword").text
    assert "first page" in client.get("/episodes?start=900").text
    assert client.get("/episodes?start=x").status_code == 200


def test_the_page_of_an_episode_says_what_each_call_earned(client: TestClient, root: Path) -> None:
    episode = read_trajectories(root / "oracle" / "trajectories.jsonl").trajectories[0]
    page = client.get("/episode?at=runs/oracle:1").text
    text = text_of(page)
    assert episode.task.query in text
    assert page.count('<article class="step">') == len(episode.steps)
    for step, reward in zip(episode.steps, episode.rewards, strict=True):
        assert " ".join(step.action.text.split()) in text
        if reward != step.reward:
            assert f"at the step {step.reward:.2f}, in hindsight {reward:.2f}" in text
    assert "contribution" in text
    assert "in hindsight" in text
    assert "✓ gold call" in text
    assert "Fulfilled by call" in text
    assert re.search(r"latency \d+ ms", text)
    assert "world" in text
    assert "Right answer" in text
    assert client.get("/episode?at=runs/oracle:1&at=runs/greedy:1").text.count("Gold plan as a list") == 2


def test_logged_advantages_are_shown(client: TestClient, tmp_path: Path, root: Path) -> None:
    episode = read_trajectories(root / "oracle" / "trajectories.jsonl").trajectories[0]
    logged = [0.125 * number for number in range(1, len(episode.steps) + 1)]
    folder = tmp_path / "runs" / "a"
    with TrajectoryWriter(folder / "trajectories.jsonl") as writer:
        writer.write(replace(episode, metadata={**episode.metadata, "advantages": logged}))
        writer.write(replace(episode, metadata={**episode.metadata, "advantages": ["x"]}))
    workspace = open_workspace(tmp_path / "runs", tmp_path / "cache")
    with TestClient(create_app(workspace), base_url="http://127.0.0.1") as other:
        assert "advantage 0.125" in text_of(other.get("/episode?at=runs/a:1").text)
        assert "advantage 0" not in text_of(other.get("/episode?at=runs/a:2").text)


def test_an_episode_of_recorded_tools_names_the_needed_functions(client: TestClient) -> None:
    text = text_of(client.get("/episode?at=runs/recorded:1").text)
    assert "Needed functions" in text
    assert re.search(r"called: \w+", text)
    assert "recorded" in text


def test_a_fork_is_answered_as_a_fragment_or_a_page(client: TestClient) -> None:
    address = "/fork?at=runs/greedy:1&step=0&call=" + quote(
        'Action: Finish\nAction Input: {"return_type": "give_up_and_restart"}'
    )
    page, fragment = client.get(address), client.get(address, headers={"hx-request": "true"})
    assert "<html" in page.text
    assert "<html" not in fragment.text
    for text in (text_of(page.text), text_of(fragment.text)):
        assert "Exact: played again from its seed" in text
        assert re.search(r"recorded -?\d\.\d+ -?\d\.\d+", text)
        assert "fork 0.000 0.000 unsolved, gave up after 1 step" in text


def test_a_fork_of_a_permalink_is_the_same_fork(client: TestClient) -> None:
    first = client.get("/fork?at=runs/oracle:1&step=1&call=one&call=two", headers={"hx-request": "1"}).text
    (address,) = re.findall(r'href="(/fork[^"]*)"', first)
    assert text_of(first) in text_of(client.get(unescape(address)).text)
    assert first.count('type="hidden" name="call"') == 2


@pytest.mark.parametrize(
    "address",
    [
        "/episode",
        "/episode?at=nothing",
        "/episode?at=runs/oracle:99999",
        "/episode?at=runs/none:1",
        "/episode?at=../../etc/passwd:1",
        "/episode/line?at=runs/oracle:-1",
        "/episodes?run=none",
        "/fork?at=runs/oracle:1&step=77&call=x",
        "/fork?at=runs/oracle:1&step=-1&call=x",
        "/fork?at=runs/oracle:1&step=0&call=x&reward=os:abort",
        "/fork?at=runs/hostile:1&step=0&call=x",
        "/fork?at=runs/oracle:1&step=one&call=x",
        "/fork",
        "/tasks?level=huge",
        "/tasks?world_seed=x",
        "/task?task=none",
        "/tools?source=huge",
        "/tools?world_seed=-1",
        "/tool?source=lite&category=c&tool=t&api=none",
        "/task?task=w0-lite-validation-400",
    ],
)
def test_a_wrong_address_is_explained(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404
    assert 'role="alert"' in answer.text
    fragment = client.get(address, headers={"hx-request": "true"})
    assert (fragment.status_code, "<html" in fragment.text) == (200, False)


def test_tasks_of_a_split_are_paged(client: TestClient) -> None:
    first, last = client.get("/tasks?split=depth-2"), client.get("/tasks?split=depth-2&start=375")
    assert "depth-2: 400 tasks, 1 to 25" in text_of(first.text)
    assert 'href="/task?task=w0-lite-depth-2-24"' in first.text
    assert "376 to 400" in text_of(last.text)
    assert 'rel="next"' not in last.text
    assert client.get("/tasks?start=9999").status_code == client.get("/tasks?start=-5").status_code == 200


def test_a_task_is_played_by_hand(client: TestClient, root: Path) -> None:
    """The oracle's calls, one by one: each page has one more, and the last one the verdict."""
    episode = read_trajectories(evaluate(root.parent / "hand", "split=depth-2", agent="oracle") / "trajectories.jsonl")
    first = episode.trajectories[0]
    actions = [step.action.text for step in first.steps]
    for made in range(len(actions) + 1):
        page = client.get("/task", params={"task": first.task.id, "call": actions[:made]}).text
        assert page.count('<article class="step">') == made
        assert ("calls left" in page) == (made < len(actions))
    assert "solved, answered after" in text_of(page)
    assert "return 1.000" in text_of(page)
    assert "Not made" not in page


def test_a_catalogue_is_searched_and_an_api_tried(client: TestClient) -> None:
    page = client.get("/tools?source=lite&text=hotel").text
    assert "APIs that match" in text_of(page)
    links = [unescape(each) for each in re.findall(r'href="(/tool\?[^"]*)"', page)]
    api = client.get(links[0])
    assert "JSON Schema of the arguments" in api.text
    tried = text_of(client.get(links[0] + "&arguments=" + quote('{"nonsense": 1}')).text)
    assert '{"error": "' in tried
    assert re.search(r"(message_error|invalid_arguments|bad_input|ok) (world|service) ", tried), tried


def test_recorded_calls_are_shown_with_their_provenance(client: TestClient) -> None:
    assert "1 APIs" in text_of(client.get("/tools").text)
    page = client.get("/tool?source=cache&category=c&tool=t&api=a").text
    text = text_of(page)
    assert "1 recorded call" in text
    assert "ok generated from" in text
    assert "2026-01-01" in text
    (again,) = re.findall(r'href="(/tool[^"]*)">try it', page)
    assert '"text":' in text_of(client.get(unescape(again)).text).partition("Only recorded")[0]


def test_what_is_recorded_meanwhile_is_shown(root: Path, tmp_path: Path) -> None:
    """Calls that another process records, and APIs that it imports, while the pages are open."""
    cache = make_cache(tmp_path / "recorded")
    workspace = open_workspace(root, tmp_path / "cache")
    with TestClient(create_app(workspace, cache=cache), base_url="http://127.0.0.1") as client:

        def shown(spec: ApiSpec) -> str:
            query = {"source": "cache", "category": spec.category, "tool": spec.tool, "api": spec.name}
            return text_of(client.get("/tool", params=query).text)

        added = ApiSpec("Late", "late", "added", "")
        assert "2 recorded calls" in shown(WEATHER)
        assert "is not in this catalog" in shown(added)
        with ResponseCache(cache) as other:
            other.put(ToolCall(*WEATHER.key, {"city": "Turku"}), encode_body("", "slush"))
            assert "3 recorded calls" in shown(WEATHER)
            assert "slush" in shown(WEATHER)
            save_catalog(Catalog([added]), cache)
            other.put(ToolCall("Late", "late", "added", {}), encode_body("", "at last"))
            other.put(ToolCall(*WEATHER.key, {"city": "Vaasa"}), encode_body("", "ice"))
        assert "at last" in shown(added)
        assert "4 recorded calls" in shown(WEATHER)


def test_an_empty_folder_says_what_a_run_is(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    workspace = open_workspace(tmp_path / "runs", tmp_path / "cache")
    with TestClient(create_app(workspace), base_url="http://127.0.0.1") as client:
        assert "There is no run yet" in client.get("/").text
        assert "No episode" in client.get("/episodes").text
        assert client.get("/runs/curves").status_code == 200
