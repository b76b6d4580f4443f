"""State tokens that are changed, joined, cut or of another server: refused alone, or as good as the token was."""

import base64
import json
from random import Random
from typing import Any

import httpx
import pytest

from tests.chaos import odd
from tests.chaos.campaign import Campaign
from toolserver.episodes.state_token import CONTINUING, PUBLIC_KEY, StateCodec
from toolserver.testing import ServerProcess
from toolserver.world import VendorRegistry, make_world
from toolserver.world.tokens import world_codec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WORLD = ["--world", "0", "--world-level", "lite"]
BATCH = 16
OPENINGS = ("open", "open:seed=7", "open:seed=-1", "open:seed=7:faults=harsh", "open:faults=none:task=a", "open:x=1")


def raw(token: str) -> bytes:
    return base64.urlsafe_b64decode(token.removeprefix(CONTINUING))


def as_token(data: bytes) -> str:
    return CONTINUING + base64.urlsafe_b64encode(data).decode()


def mutated(rng: Random, tokens: list[str]) -> str:
    """A token that no server wrote, with few exceptions."""
    token, other = rng.choice(tokens), rng.choice(tokens)
    start = rng.randrange(len(token))
    return rng.choice(
        (
            lambda: as_token(odd.flipped(rng, raw(token), rng.choice((1, 1, 2, 30)))),
            lambda: as_token(odd.damaged(rng, raw(token))),
            lambda: as_token(raw(token)[:start] + raw(other)[start:]),
            lambda: token[:start] + other[start:],
            lambda: token[: start or 1],  # an empty one is a call without a state
            lambda: token + rng.choice(("=", "A", "\n", " ", token, "A" * 70_000)),
            lambda: token.upper(),
            lambda: odd.changed(rng, rng.choice(OPENINGS)).encode("ascii", "ignore").decode() or "-",
            lambda: CONTINUING + base64.b64encode(rng.randbytes(rng.randrange(200))).decode(),
            lambda: "".join(chr(rng.randrange(1, 128)) for _ in range(rng.randrange(1, 80))),
        )
    )()


class Asker:
    """Calls of one server's tool, whose answers to good tokens are known."""

    def __init__(self, client: httpx.Client, rng: Random) -> None:
        self._client = client
        apis = client.get("/v1/apis?limit=200").json()["apis"]
        self._calls = [{name: api[f"{name}_name"] for name in ("category", "tool", "api")} for api in apis]
        self._rng = rng
        self.call = {**rng.choice(self._calls), "arguments": {}}

    def tokens(self, number: int) -> list[str]:
        """Tokens of different episodes and lengths."""
        found = []
        for seed in range(number):
            token = f"open:seed={seed}:faults={'mild' if seed % 2 else 'none'}:task=t{seed}"
            for _ in range(1 + seed % 6):
                call = {**self._rng.choice(self._calls), "arguments": {}}
                token = self.answers([{**call, "state": token}]).json()[0]["state"]
            found.append(token)
        return found

    def answers(self, calls: list[dict[str, Any]]) -> httpx.Response:
        return self._client.post("/v1/calls", content=json.dumps(calls), headers={"content-type": "application/json"})


def test_changed_tokens_are_refused_alone(campaign: Campaign) -> None:
    rng = campaign.rng
    with (
        campaign.scenario("state tokens, changed") as scenario,
        ServerProcess(WORLD) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        asker = Asker(client, rng)
        tokens = asker.tokens(60)
        as_good = {token: asker.answers([{**asker.call, "state": token}]).json()[0] for token in tokens}
        contents = {raw(token): token for token in tokens}
        public = [world_codec(VendorRegistry(make_world(0, "lite"))), StateCodec(PUBLIC_KEY)]
        forged = [codec.write(codec.read("open:seed=3")) for codec in public]
        while scenario.trials < campaign.count(16_000):
            good = rng.choice(tokens)
            bad = [
                mutated(rng, [*tokens, *forged]) if rng.random() < 0.98 else rng.choice(forged) for _ in range(BATCH)
            ]
            states = [each for token in bad for each in (token, good)]
            response = asker.answers([{**asker.call, "state": state} for state in states])
            scenario.answered(response.status_code, bad)
            if response.status_code != 200:
                continue
            found = response.json()
            scenario.expect(len(found) == len(states), "lost", len(found))
            for answer in found[1::2]:
                scenario.expect(answer == as_good[good], "wrong", answer)
            for token, answer in zip(bad, found[::2], strict=True):
                scenario.trials += 1
                same = same_content(token, contents)  # base64 has several spellings of the same bytes
                if same is not None:
                    scenario.expect(answer == as_good[same], "wrong", token)
                elif not token.startswith("open"):
                    scenario.expect(answer["outcome"] == "forbidden", "wrong", f"{token:.80}: {answer}")
            scenario.sample(server.pid)


def same_content(token: str, contents: dict[bytes, str]) -> str | None:
    try:
        return contents.get(base64.b64decode(token.removeprefix(CONTINUING), altchars=b"-_", validate=True))
    except ValueError:
        return None
