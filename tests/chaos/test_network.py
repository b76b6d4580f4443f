"""A network that drops, delays, cuts and garbles during a rollout: the same bytes, or an episode marked as lost."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from agents.baselines.heuristics import GreedyDocsAgent
from agents.baselines.oracle import OracleAgent
from agents.baselines.random import RandomAgent
from agents.evaluation.evaluate import Evaluation, evaluate
from steptool_env.client import HttpToolClient
from steptool_env.episodes.records import encode, trajectory_record
from steptool_env.errors import ToolTransportError
from tests.chaos.campaign import Campaign
from tests.chaos.proxy import FaultyProxy
from toolserver.testing import ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EPISODES = 120
AGENTS = (OracleAgent, RandomAgent, GreedyDocsAgent)


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that wait 5 seconds for an answer whose end is lost, not 60."""
    monkeypatch.setitem(HttpToolClient.__init__.__kwdefaults__, "timeout", 5.0)


@pytest.fixture(scope="module")
def world() -> Iterator[ServerProcess]:
    with ServerProcess(["--world", "0"]) as server:
        yield server


def rollout(agent: type[Any], seed: int, url: str, slots: int) -> tuple[dict[str, bytes], int]:
    """Lines of the trajectories by task, without those that are marked as lost; and the number of these."""
    arguments = {"faults": "mild", "split": "validation", "server_url": url}
    evaluation = Evaluation("StepTool/ToolWorld-v0", arguments, EPISODES, slots, seed)
    played: dict[str, bytes] = {}
    marked = 0

    def keep(trajectory: Any) -> None:
        nonlocal marked
        if "transport_error" in trajectory.metadata:
            marked += 1
        else:
            played[trajectory.task.id] = encode(trajectory_record(trajectory))

    try:
        evaluate(evaluation, agent(), keep)
    except ToolTransportError:  # several in a row, or the first request: the rest is not played
        marked = EPISODES - len(played)
    return played, marked


@pytest.mark.parametrize("garble", [False, True], ids=["drops, delays and cuts", "garbles, too"])
def test_rollouts_through_a_faulty_network(
    campaign: Campaign, world: ServerProcess, brisk: None, garble: bool, request: pytest.FixtureRequest
) -> None:
    rng = campaign.rng
    kind = request.node.callspec.id
    undisturbed: dict[tuple[type[Any], int], dict[str, bytes]] = {}
    with campaign.scenario(f"episodes through a network that {kind}") as scenario:
        faults, marked = Counter[str](), 0
        for number in range(campaign.count(16, least=3)):
            agent, seed = AGENTS[number % 3], rng.randrange(2)
            if (agent, seed) not in undisturbed:
                undisturbed[agent, seed] = rollout(agent, seed, world.url, slots=16)[0]
            expected = undisturbed[agent, seed]
            with FaultyProxy(world.url, rng, rate=rng.choice((0.03, 0.12)), garble=garble) as proxy:
                played, lost = rollout(agent, seed, proxy.url, slots=rng.choice((4, 16, EPISODES)))
            faults += proxy.done
            marked += lost
            scenario.trials += EPISODES
            scenario.expect(len(played) + lost == EPISODES, "lost", f"{len(played)} + {lost} of {EPISODES} episodes")
            for task, line in played.items():
                scenario.expect(
                    line == expected[task], "wrong", f"{task}: {line[-300:]!r} for {expected[task][-300:]!r}"
                )
            scenario.sample(world.pid)
        scenario.extra |= {"faults": faults.total(), "episodes that ended with an error": marked}
        scenario.expect(faults.total() > 0, "lost", "the proxy did nothing")
