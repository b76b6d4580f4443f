"""Odd JSON through every route: an answer below 500, one per element of a batch, and the others as if alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from urllib.parse import quote

import httpx
import pytest

from tests.chaos import odd
from tests.chaos.campaign import Campaign, Scenario
from tests.toolserver.serving import OSLO, OSLO_BODY, as_request, as_virtual, make_cache
from toolserver.catalog.api_schema import Outcome, Provenance
from toolserver.testing import ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

JSON_TYPE = {"content-type": "application/json"}
GOOD = json.dumps(as_request(OSLO))


@pytest.fixture(params=["synthetic", "world"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that checks arguments and makes up answers, and one with a world beside its recordings."""
    cache = ["--cache", str(make_cache(tmp_path / "cache")), "--read-only"]
    more = ["--miss", "synthetic", "--strict-arguments"] if request.param == "synthetic" else ["--world", "0"]
    with ServerProcess([*cache, *more]) as server:
        yield server


def encoded(rng: Random, text: str) -> bytes:
    """A text as bytes: UTF-8 where it can be, sometimes another encoding or with a mark."""
    kind = rng.random()
    if kind < 0.03:
        return text.encode("utf-16", "surrogatepass")
    if kind < 0.05:
        return b"\xef\xbb\xbf" + text.encode("utf-8", "surrogatepass")
    return text.encode("utf-8", "surrogatepass" if kind < 0.1 else "replace")


def ask_single(scenario: Scenario, client: httpx.Client, rng: Random) -> None:
    path, good = rng.choice((("/virtual", as_virtual(OSLO)), ("/v1/call", as_request(OSLO))))
    text = odd.fields(rng, good) if rng.random() < 0.8 else odd.value(rng)
    answer = client.post(path, content=encoded(rng, text), headers=JSON_TYPE)
    scenario.answered(answer.status_code, text)
    scenario.expect(isinstance(answer.json(), dict), "wrong", answer.text)


def ask_batch(scenario: Scenario, client: httpx.Client, rng: Random) -> None:
    """Odd elements between good ones, which are answered as if they were alone."""
    good, whole = as_request(OSLO), True
    elements = [odd.fields(rng, good, whole) if rng.random() < 0.8 else odd.value(rng, whole=whole) for _ in range(6)]
    text = "[" + "".join(f"{GOOD}, {each}, " for each in elements) + f"{GOOD}]"
    answer = client.post("/v1/calls", content=text.encode("utf-8", "replace"), headers=JSON_TYPE)
    scenario.answered(answer.status_code, text)
    if answer.status_code != 200:
        scenario.fail("wrong", f"{answer.text:.200} for {text:.400}")
        return
    found = answer.json()
    scenario.expect(
        len(found) == 2 * len(elements) + 1, "lost", f"{len(found)} answers to {2 * len(elements) + 1} calls"
    )
    for each in found[::2]:
        scenario.expect(each["body"] == OSLO_BODY.decode(), "wrong", each)
    for each in found[1::2]:
        typed = each["outcome"] in set(Outcome) and each["provenance"] in set(Provenance)
        scenario.expect(typed and json.loads(each["body"]).keys() == {"error", "response"}, "wrong", each)
        scenario.expect(each["outcome"] != "failed", "exceptions", f"{each} for {text:.400}")


def ask_documentation(scenario: Scenario, client: httpx.Client, rng: Random) -> None:
    words = [quote(odd.value(rng, 1)[:300].encode("utf-8", "replace")) for _ in range(3)]
    path = rng.choice((f"/v1/apis?q={words[0]}&limit={words[1]}", "/v1/apis/" + "/".join(words), f"/{words[0]}"))
    scenario.answered(client.get(path[:4000]).status_code, path)


def test_odd_json_through_every_route(
    campaign: Campaign, server: ServerProcess, request: pytest.FixtureRequest
) -> None:
    rng, kind = campaign.rng, request.node.callspec.id
    with (
        campaign.scenario(f"odd JSON through every route, {kind}") as scenario,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        asks = (ask_single, ask_single, ask_batch, ask_documentation)
        while scenario.trials < campaign.count(8_000):
            rng.choice(asks)(scenario, client, rng)
            scenario.trials += 1
            if not scenario.trials % 500:
                scenario.sample(server.pid)
        scenario.sample(server.pid)
        last = client.post("/virtual", json=as_virtual(OSLO))
        scenario.expect(last.content == OSLO_BODY, "wrong", last.text)
