"""A soak of mixed load: memory and descriptors are those of its middle at its end."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from random import Random
from statistics import mean
from threading import Event

import httpx
import psutil
import pytest

from tests.chaos import odd
from tests.chaos.campaign import Campaign, Scenario
from tests.chaos.test_requests import LAST, address, exchange, request_of
from tests.server_stub import upstream_stub
from tests.toolserver.serving import OSLO, OSLO_BODY, as_request, as_virtual, make_cache
from toolserver.testing import ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SECONDS = 90  # of the whole budget
CALLERS = 5
SAMPLES = 200
GROWTH = 0.10
"""Largest growth of the resident memory in the last half."""


def load(scenario: Scenario, url: str, rng: Random, stop: Event) -> int:
    """Requests of all kinds, good and odd, until the end; their number."""
    to, names = address(url), count()
    sent = 0
    limits = httpx.Limits(keepalive_expiry=2.0)  # less than the server's, which would close a connection in use
    with httpx.Client(base_url=url, timeout=60, limits=limits) as client:
        while not stop.is_set():
            chosen = rng.random()
            if chosen < 0.3:
                found = client.post("/virtual", json=as_virtual(OSLO))
                scenario.expect(found.content == OSLO_BODY, "wrong", found.text)
            elif chosen < 0.6:
                missed = OSLO._replace(arguments={"city": f"{rng.random()} {next(names)}"})
                calls = [as_request(rng.choice((OSLO, OSLO, missed))) for _ in range(rng.choice((1, 16, 64)))]
                found = client.post("/v1/calls", json=calls)
                scenario.expect(len(found.json()) == len(calls), "lost", found.text)
            elif chosen < 0.8:
                text = odd.fields(rng, as_request(OSLO))
                kind = {"content-type": "application/json"}
                found = client.post("/v1/call", content=text.encode("utf-8", "replace"), headers=kind)
            elif chosen < 0.9:
                words = json.dumps(rng.random())
                found = client.get(rng.choice(("/metrics", f"/v1/apis?q={words}", "/v1/info", f"/{words}", "/docs")))
            else:
                requests = b"".join(request_of(rng) for _ in range(4))
                pieces = list(odd.pieces(rng, requests + LAST))
                if rng.random() < 0.3:  # gone before its answer
                    exchange(to, pieces[: len(pieces) // 2], 0)
                    continue
                exchange(to, pieces, 5.0)
                sent += 5
                continue
            scenario.answered(found.status_code, found.text)
            sent += 1
    return sent


def descriptors(pid: int) -> int:
    process = psutil.Process(pid)
    return sum(each.num_fds() for each in (process, *process.children()))


@pytest.mark.parametrize("miss", ["synthetic", "live"])
def test_a_soak_takes_no_more_memory_in_its_last_half(campaign: Campaign, tmp_path: Path, miss: str) -> None:
    """Memory and descriptors are means of the third and of the last quarter of the samples."""
    seconds = campaign.count(SECONDS, least=8)
    with (
        campaign.scenario(f"soak, misses {miss}") as scenario,
        upstream_stub(lambda request: {"error": "", "response": "x" * 200}) as stub,
    ):
        flags = ["--cache", str(make_cache(tmp_path / "cache")), "--miss", miss, "--world", "0"]
        flags += ["--live-url", stub.url] if miss == "live" else []
        with ServerProcess(flags) as server, ThreadPoolExecutor(CALLERS) as pool:
            stop = Event()
            rngs = [Random(f"{campaign.seed} {number}") for number in range(CALLERS)]
            callers = [pool.submit(load, scenario, server.url, rng, stop) for rng in rngs]
            memory, opened = [], []
            try:
                for _ in range(SAMPLES):
                    time.sleep(seconds / SAMPLES)  # the duration of the soak, not a wait for something
                    memory.append(scenario.sample(server.pid))
                    opened.append(descriptors(server.pid))
            finally:
                stop.set()
            scenario.trials = sum(caller.result() for caller in callers)
        half, quarter = SAMPLES // 2, SAMPLES // 4
        before, after = mean(memory[half : half + quarter]), mean(memory[-quarter:])
        growth = after / before - 1
        scenario.extra |= {
            "seconds": seconds,
            "memory in the third quarter, MiB": round(before, 1),
            "memory in the last quarter, MiB": round(after, 1),
            "growth, %": round(100 * growth, 1),
            "descriptors in the third quarter": round(mean(opened[half : half + quarter]), 1),
            "descriptors in the last quarter": round(mean(opened[-quarter:]), 1),
        }
        scenario.expect(growth < GROWTH, "wrong", f"memory grows from {before:.1f} to {after:.1f} MiB")
        more = mean(opened[-quarter:]) - mean(opened[half : half + quarter])
        scenario.expect(more < 10, "wrong", f"{more:.1f} more descriptors in the last quarter")
