"""Answers calls: validate, then faults, then the resolvers in their order."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

from toolserver.jsontext import is_deeper, parse
from toolserver.names import standardize, standardize_category
from toolserver.resolvers.base import ApiLookup, Faults, Resolver, ValidatedCall, refuse
from toolserver.schemas import ApiSpec, Outcome, Provenance, ToolCall, ToolResponse, encode_body
from toolserver.validation import MAX_DEPTH, argument_problem

PARSE_ERROR = "Tool input parse error...\n"
"""StableToolBench's own words for arguments that are no JSON object."""

_CHAT = ToolResponse(encode_body("", "Chat with user."), Outcome.OK, Provenance.SERVICE)
_UNPARSED = refuse(Outcome.INVALID_ARGUMENTS, PARSE_ERROR)


class _Api(NamedTuple):
    """The names of a call, standardised, and the documentation they lead to."""

    category: str
    tool: str
    api: str
    spec: ApiSpec | None


class ToolService:
    """The tools' side of every call, without HTTP.

    Safe to use from several threads. A call never raises for what its caller wrote or for what a tool did: it answers
    with a typed outcome.

    Args:
        catalog: Which APIs exist.
        resolvers: Sources of answers, asked in this order; the first answer counts. Those that block come last.
        strict_arguments: Refuse calls whose arguments do not fit the documentation. Off by default, because the
            recorded APIs were lax themselves.
        faults: Advances the state of calls that carry a state token, and injects faults.
        max_depth: Levels of nesting allowed in the arguments.
        upstream_workers: Threads that `call_many` uses for blocking resolvers.
    """

    def __init__(
        self,
        catalog: ApiLookup,
        resolvers: Sequence[Resolver],
        *,
        strict_arguments: bool = False,
        faults: Faults | None = None,
        max_depth: int = MAX_DEPTH,
        upstream_workers: int = 8,
    ) -> None:
        self.catalog = catalog
        self.resolvers = tuple(resolvers)
        self._instant = tuple(resolver for resolver in resolvers if not resolver.blocking)
        self._blocks = len(self._instant) < len(self.resolvers)
        self._strict = strict_arguments
        self._faults = faults
        self._max_depth = max_depth
        self._upstream_workers = upstream_workers
        # Names repeat: looking them up once saves a third of a call. The catalog of a service does not change.
        self._find = lru_cache(maxsize=65536)(self._look_up)

    def call(self, call: ToolCall) -> ToolResponse:
        """Answer one call, waiting for blocking resolvers where the others have no answer."""
        checked = self._check(call)
        if isinstance(checked, ToolResponse):
            return _carry(checked, call.state)
        if checked.state and self._faults is not None:
            return self._faults.answer(checked, self._resolve)
        return self._resolve(checked)

    def call_now(self, call: ToolCall) -> ToolResponse | None:
        """Answer one call without waiting, or `None` when a blocking resolver would have to be asked."""
        if not self._blocks:
            return self.call(call)
        checked = self._check(call)
        if isinstance(checked, ToolResponse):
            return _carry(checked, call.state)
        if checked.state and self._faults is not None:
            return None
        return self._first_answer(self._instant, checked)

    def call_many(self, calls: Sequence[ToolCall]) -> list[ToolResponse]:
        """Answer several calls, in their order. They do not see each other's effects."""
        if not self._blocks:
            return [self.call(call) for call in calls]
        answers = [self.call_now(call) for call in calls]
        waiting = [index for index, answer in enumerate(answers) if answer is None]
        if waiting:
            with ThreadPoolExecutor(min(self._upstream_workers, len(waiting))) as pool:
                late = pool.map(self.call, [calls[index] for index in waiting])
                for index, answer in zip(waiting, late, strict=True):
                    answers[index] = answer
        return [answer for answer in answers if answer is not None]

    def close(self) -> None:
        """Close the resolvers; the service is not used afterwards."""
        for resolver in self.resolvers:
            resolver.close()

    def _look_up(self, category: str, tool: str, api: str) -> _Api:
        spec = self.catalog.get(category, tool, api)
        if spec is not None:
            return _Api(*spec.key, spec)
        return _Api(standardize_category(category), standardize(tool), standardize(api), None)

    def _check(self, call: ToolCall) -> ValidatedCall | ToolResponse:
        """The call, ready for the resolvers, or the refusal."""
        api = self._find(call.category, call.tool, call.api)
        if api.api == "chat_with_user":  # the reference server answers this one before it reads any argument
            return _CHAT
        arguments = call.arguments
        if isinstance(arguments, str):
            arguments = _read_arguments(arguments)
        if not isinstance(arguments, dict):
            return _UNPARSED
        if is_deeper(arguments, self._max_depth):
            return refuse(Outcome.INVALID_ARGUMENTS, f"Arguments nested deeper than {self._max_depth} levels.")
        if self._strict and api.spec is not None:
            problem = argument_problem(api.spec, arguments)
            if problem:
                return refuse(Outcome.INVALID_ARGUMENTS, problem)
        return ValidatedCall(api.category, api.tool, api.api, arguments, api.spec, call.state)

    def _resolve(self, call: ValidatedCall) -> ToolResponse:
        answer = self._first_answer(self.resolvers, call)
        if answer is not None:
            return answer
        return _nobody_answers(call)

    def _first_answer(self, resolvers: Sequence[Resolver], call: ValidatedCall) -> ToolResponse | None:
        for resolver in resolvers:
            answer = resolver.resolve(call)
            if answer is not None:
                return _carry(answer, call.state)
        return None


def _read_arguments(text: str) -> Any:
    if text == "":
        return {}
    try:
        return parse(text)
    except ValueError:
        return None


def _nobody_answers(call: ValidatedCall) -> ToolResponse:
    if call.spec is None:
        name = f"{call.api} of {call.tool} in {call.category}"
        return _carry(refuse(Outcome.UNKNOWN_API, f"Unknown API: {name}."), call.state)
    return _carry(refuse(Outcome.NOT_RECORDED, "No recorded response for this call."), call.state)


def _carry(answer: ToolResponse, state: str) -> ToolResponse:
    """`answer` with the caller's token where the answer has none: an episode that nothing changed goes on."""
    return answer._replace(state=state) if state and not answer.state else answer
