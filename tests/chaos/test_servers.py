"""kill -9 of servers that answer and record: recorders, workers and their parent."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from steptool_env.client import HttpToolClient
from steptool_env.errors import ToolTransportError
from tests.chaos.campaign import Campaign, Scenario
from tests.chaos.killing import is_alive, run, toolserver, wait_for, workers
from tests.server_stub import Stub, upstream_stub
from tests.toolserver.apis import WEATHER
from tests.toolserver.numbered_calls import write_responses_folder
from tests.toolserver.serving import make_cache
from toolserver.cache import ResponseCache
from toolserver.catalog.api_schema import ToolCall, ToolResponse
from toolserver.errors import ToolServerError
from toolserver.testing import ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CALLERS = 6
BATCH = 8
IMPORTED = 6 * 150  # recordings in the folders of the importers, which overlap


def city(number: int) -> ToolCall:
    return ToolCall(*WEATHER.key, {"city": f"city {number}"})


@contextmanager
def upstream() -> Iterator[Stub]:
    """A server of tools whose answers differ each time: a call that is asked twice has two answers."""
    asked = iter(range(10**9))
    with upstream_stub(lambda request: {"error": "", "response": f"{request['tool_input']} {next(asked)}"}) as stub:
        yield stub


class Ports:
    """A server at one address, which is killed and started again."""

    def __init__(self, *arguments: str, **settings: object) -> None:
        self._arguments, self._settings = arguments, settings
        self.server = ServerProcess(arguments, settings=settings)
        self.server.__enter__()
        self.url = self.server.url

    def kill(self) -> None:
        """Kill the server and start the next one at its port, as soon as that is free."""
        os.kill(self.server.pid, signal.SIGKILL)
        self.server.close()
        port = int(self.url.rsplit(":", 1)[1])
        started = []

        def start() -> bool:
            server = ServerProcess(self._arguments, settings=self._settings, port=port)
            try:
                server.__enter__()
            except ToolServerError:  # workers of the killed parent are about to end
                return False
            started.append(server)
            return True

        assert wait_for(start), "the port stays taken"
        self.server = started[0]

    def close(self) -> None:
        self.server.close()


def ask(urls: list[str], calls: range, stop: Event, scenario: Scenario) -> list[dict[int, ToolResponse]]:
    """Ask the servers from several threads for calls in batches; the answers of each thread."""

    def caller(number: int) -> dict[int, ToolResponse]:
        client, found = HttpToolClient(urls[number % len(urls)], timeout=20), dict[int, ToolResponse]()
        position = number * 7919
        while not stop.is_set():
            asked = [calls[(position + 13 * offset) % len(calls)] for offset in range(BATCH)]
            position += BATCH + 5
            try:
                answers = client.call_many([city(each) for each in asked])
            except ToolTransportError as error:
                scenario.fail("lost", error)
                continue
            for each, answer in zip(asked, answers, strict=True):
                answer = answer._replace(provenance=found.get(each, answer).provenance)  # generated, then recorded
                scenario.expect(found.setdefault(each, answer) == answer, "wrong", f"{found[each]}, then {answer}")
        client.close()
        return found

    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(caller, range(CALLERS)))


def check_recorded(scenario: Scenario, path: Path, answers: list[dict[int, ToolResponse]]) -> None:
    """Every caller got the answer that is recorded, and the cache is sound."""
    recorded = {}
    with ResponseCache(path, read_only=True) as cache:
        for _, entry in cache.entries():
            arguments = entry.describe().call.arguments
            assert isinstance(arguments, dict)
            recorded[arguments.get("city", len(recorded))] = entry.body
    for found in answers:
        for number, answer in found.items():
            name = f"city {number}"
            scenario.expect(name in recorded, "lost", f"{name} was answered and is not recorded")
            scenario.expect(recorded.get(name) == answer.body, "wrong", f"{name}: {answer.body!r}")
    done = run(toolserver("verify", "--cache", path))
    scenario.expect(done.returncode == 0, "wrong", done.stderr)


def test_recording_servers_are_killed(campaign: Campaign, tmp_path: Path) -> None:
    """Two servers record into one cache while six importers write, too, and are killed in turn."""
    path = make_cache(tmp_path / "cache")
    with campaign.scenario("two recording servers, killed in turn, and six importers") as scenario, upstream() as stub:
        flags = ("--cache", str(path), "--miss", "live", "--live-url", stub.url)
        servers = [Ports(*flags), Ports(*flags)]
        stop, importing = Event(), Event()
        sources = []
        for number in range(6):
            sources.append(tmp_path / f"source {number % 3}")  # each folder twice, at once
            if number < 3:
                write_responses_folder(sources[number], files=4 + number, calls=50 * (number + 1))

        def imports(source: Path) -> str:
            errors = ""
            while not importing.is_set() or not errors:
                done = run(toolserver("import", "stabletoolbench", source, "--cache", path))
                errors = done.stderr or "-"
                scenario.expect(done.returncode == 0, "exceptions", done.stderr)
            return errors

        try:
            with ThreadPoolExecutor(7) as pool:
                asking = pool.submit(ask, [each.url for each in servers], range(3000), stop, scenario)
                importers = [pool.submit(imports, source) for source in sources]
                try:
                    for kill in range(campaign.count(10, least=2)):
                        before = len(stub.requests)
                        moved = wait_for(lambda before=before: len(stub.requests) > before + 40)
                        servers[kill % 2].kill()
                        scenario.trials += 1
                        scenario.expect(moved or len(stub.requests) >= 3000, "lost", "nothing is recorded any more")
                        scenario.sample(servers[0].server.pid)
                finally:
                    stop.set()
                    importing.set()
                answers = asking.result()
                for each in importers:
                    scenario.ended(each.result())
        finally:
            for server in servers:
                server.close()
        check_recorded(scenario, path, answers)
        first = answers[0].keys()
        for found in answers[1:]:
            for number in first & found.keys():
                scenario.expect(answers[0][number].body == found[number].body, "wrong", f"two answers to {number}")
        scenario.extra["answers"] = sum(map(len, answers))
        scenario.expect(imported(path) == IMPORTED, "lost", f"{imported(path)} of {IMPORTED} imported recordings")


def imported(path: Path) -> int:
    with ResponseCache(path, read_only=True) as cache:
        return sum("file" in entry.describe().call.arguments for _, entry in cache.entries())


@pytest.mark.parametrize("victim", ["worker", "parent"])
def test_a_process_of_a_server_is_killed(campaign: Campaign, tmp_path: Path, victim: str) -> None:
    """Calls go on: a worker is replaced; after the parent's end the workers end, and the next server has the port."""
    rng = campaign.rng
    with campaign.scenario(f"kill -9 of a {victim} of a server") as scenario:
        flags: list[Any] = ["--cache", make_cache(tmp_path / "cache"), "--miss", "synthetic", "--workers", "3"]
        server, stop = Ports(*map(str, flags)), Event()
        try:
            with ThreadPoolExecutor(1) as pool:
                asking = pool.submit(ask, [server.url], range(500), stop, scenario)
                try:
                    for _ in range(campaign.count(20 if victim == "worker" else 6, least=2)):
                        family = workers(server.server.pid)
                        scenario.sample(server.server.pid)
                        if victim == "worker":
                            chosen = rng.choice(family)
                            os.kill(chosen, signal.SIGKILL)
                            replaced = wait_for(lambda chosen=chosen: is_whole(server.server.pid, chosen))
                            scenario.expect(replaced, "lost", "a killed worker is not replaced")
                        else:
                            server.kill()
                            ended = wait_for(lambda family=family: not any(map(is_alive, family)))
                            scenario.expect(ended, "wrong", "workers live on without their parent")
                        scenario.trials += 1
                finally:
                    stop.set()
                answers = asking.result()
        finally:
            server.close()
        for found in answers[1:]:
            for number in answers[0].keys() & found.keys():
                scenario.expect(answers[0][number].body == found[number].body, "wrong", f"two answers to {number}")
        scenario.extra["answers"] = sum(map(len, answers))


def is_whole(parent: int, killed: int) -> bool:
    living = workers(parent)
    return len(living) == 3 and killed not in living
