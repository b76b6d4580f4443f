"""Base of suites whose tools are simulated APIs with a state per episode."""

from collections.abc import Iterable

from steptool_env.suites.listed import ListedSuite
from steptool_env.suites.server_match import ServerMatch
from steptool_env.types import Task
from toolserver.calls.simulations import SimulatedApis
from toolserver.catalog.catalog import Catalog
from toolserver.episodes.state_token import opening_token
from toolserver.resolvers.simulated import SimulatedResolver, simulated_codec
from toolserver.service.info import catalog_digest, package_version
from toolserver.service.service import ToolService


class SimulatedSuite(ListedSuite):
    """Tasks that one benchmark's simulated APIs answer.

    Args:
        name: Name of the suite.
        tasks: Tasks; no two have the same id.
        apis: The simulated APIs.
        kind: Kind of a server that has them, as `GET /v1/info` tells it.
        faults: Injected faults: `none`, `mild` or `harsh`.
    """

    def __init__(self, name: str, tasks: Iterable[Task], apis: SimulatedApis, kind: str, faults: str) -> None:
        opening_token(0, faults)  # reject an unknown fault level before the first reset
        self._apis, self._kind, self._faults = apis, kind, faults
        super().__init__(name, tasks)

    def initial_state(self, task: Task, episode_seed: int) -> str:
        """See `TaskSuite.initial_state`. It names the task, whose initial state the simulated APIs load."""
        return opening_token(episode_seed, self._faults, task.id)

    def make_service(self) -> ToolService:
        """See `ListedSuite.make_service`."""
        return ToolService(self._catalog(), [SimulatedResolver(self._apis)], codec=simulated_codec(self._apis))

    @property
    def server_match(self) -> ServerMatch:
        """Requirements on a server: the APIs with this documentation, of this package version."""
        return ServerMatch((self._kind,), {"version": package_version(), "digest": catalog_digest(self._catalog())})

    def _catalog(self) -> Catalog:
        return Catalog(self._apis.load_apis().values())
