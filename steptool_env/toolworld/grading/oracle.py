"""Oracle: makes the needed calls of the gold solution, retries failures, and answers."""

from copy import copy
from typing import Any, NamedTuple, Self

from steptool_env.toolworld.answers.slots import slots_of
from steptool_env.toolworld.grading.progress_tracker import milestones_of
from steptool_env.toolworld.task import Obstacle, WorldTask
from toolserver.catalog.api_schema import Provenance
from toolserver.world.schema import OperationKind
from toolserver.world.vendors import Health, VendorApi
from toolserver.world.vendors.api import PAGE_INPUT, TOKEN_INPUT
from toolserver.world.vendors.value_codecs import codec_of

_TRIES = 3


class OracleCall(NamedTuple):
    """One call of the gold solution, with the vendor's argument names."""

    api: VendorApi
    arguments: dict[str, Any]

    @property
    def function(self) -> str:
        """Name of the offered function."""
        return self.api.spec.function_name

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self  # a copy would take its world with it


class Oracle:
    """Solver of one task. Repeat: get `next_call`, make it, pass its response to `observe`.

    It solves every task without faults. With faults it retries a failing call, then tries other offered APIs of the
    same operation, and gives up if none is left.
    """

    def __init__(self, task: WorldTask) -> None:
        self.task = task
        self.stuck = False
        self._todo = list(milestones_of(task))
        self._page = 1
        self._failures = 0
        self._tokens: dict[int, str] = {}
        self._avoided: set[VendorApi] = set()

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        copied = copy(self)  # of the same task: a search copies the state after every call
        copied._todo, copied._tokens, copied._avoided = list(self._todo), dict(self._tokens), set(self._avoided)
        return copied

    @property
    def gives_up(self) -> bool:
        """True if giving up is the right end."""
        return self.stuck or not self.task.solvable

    @property
    def answer(self) -> str:
        """Final answer of the gold solution."""
        return gold_answer(self.task)

    def next_call(self) -> OracleCall | None:
        """Return the next call; `None` when the episode should finish."""
        if not self._todo or self.stuck:
            return None
        api = self._todo[0].api
        if api in self._avoided:
            api = self._others(api)[0]
        login = api.login_api
        if login is not None and api.vendor.index not in self._tokens:
            return OracleCall(login, {})
        if self._todo[0].node < 0:
            return OracleCall(api, {})
        values = self.task.plan.arguments(self._todo[0].node)
        if login is not None:
            values[TOKEN_INPUT] = self._tokens[api.vendor.index]
        if self._page > 1:
            values[PAGE_INPUT] = self._page
        return OracleCall(api, api.encode_arguments(values))

    def begin_turn(self, turn: int) -> None:
        """See `steptool_env.benchmarks.oracle.Oracle`: tasks of ToolWorld have one turn."""

    def observe(self, call: OracleCall, succeeded: bool, response: Any, provenance: Provenance) -> None:
        """Record the response to a call, see `steptool_env.benchmarks.oracle.Oracle`."""
        milestone = self._todo[0]
        if milestone.obstacle and provenance is not Provenance.INJECTED:
            self._next()
        elif not succeeded:
            self._fail(call.api)
        elif call.api.operation.kind is OperationKind.LOGIN:
            self._tokens[call.api.vendor.index] = call.api.read(response)[0]["token"]
            if milestone.node < 0:
                self._next()
        elif self._is_partial(call.api, milestone.node):
            self._page += 1
        else:
            self._next()

    def _others(self, api: VendorApi) -> list[VendorApi]:
        """Return the other offered APIs for the operation of an API that keeps failing."""
        return [
            each
            for each in self.task.toolset.apis
            if each.operation is api.operation and each.health is Health.OK and each not in self._avoided
        ]

    def _fail(self, api: VendorApi) -> None:
        self._failures += 1
        if self._failures >= _TRIES:
            self._failures = 0
            self._avoided.add(api)
            self.stuck = self._todo[0].api in self._avoided and not self._others(self._todo[0].api)

    def _next(self) -> None:
        self._todo.pop(0)
        self._page, self._failures = 1, 0

    def _is_partial(self, api: VendorApi, node: int) -> bool:
        """Return True if later pages hold rows that are asked for."""
        size = api.layout.page_size
        return bool(size and self._page * size < len(self.task.plan.used_rows(node)))


def gold_answer(task: WorldTask) -> str:
    """Return the answer of the gold solution: the asked values in the called vendors' style, joined by `; `."""
    values = []
    for slot in slots_of(task):
        encode = codec_of(slot.type, slot.values_shown).encode
        values += [str(value if encode is None else encode(value)) for value in slot.values]
    return "; ".join(values) or "Done."


def describes_obstacle(task: WorldTask) -> str:
    """Return a sentence that names the obstacle of an unsolvable task; empty for a solvable one."""
    operation = task.plan.results[task.blocked].operation.name if not task.solvable else ""
    return {
        Obstacle.NONE: "",
        Obstacle.MISSING: f"no offered API does {operation}",
        Obstacle.BROKEN: f"the offered API for {operation} is broken",
        Obstacle.UNKNOWN: f"{operation} finds nothing of that name",
    }[task.obstacle]
