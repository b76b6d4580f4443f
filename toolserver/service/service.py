"""Answer calls: validation, then injected faults, then the resolvers in order."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, NamedTuple, cast

from toolserver.calls.call_key import canonical_arguments, key_of_text
from toolserver.calls.episode_state import EpisodeState
from toolserver.calls.json_parsing import is_deeper, parse
from toolserver.calls.naming import api_key
from toolserver.catalog.api_schema import ApiSpec, Outcome, Provenance, ToolCall, ToolResponse, encode_body
from toolserver.episodes.faults import draw_fault
from toolserver.episodes.state_token import StateCodec
from toolserver.errors import DamagedEntryError, DataError
from toolserver.resolvers.base import PARSE_ERROR, ApiLookup, Resolver, ValidatedCall, refuse, refuse_damaged
from toolserver.service.validation import MAX_DEPTH, argument_problem

PendingAnswer = Callable[[], ToolResponse]
"""Rest of the work for a call that only a blocking resolver can answer; may wait, so it is run on a thread."""

_CACHED_LENGTH = 1024  # characters of names and argument text; the checks of longer calls are not cached

_CHAT = ToolResponse(encode_body("", "Chat with user."), Outcome.OK, Provenance.SERVICE)
_UNPARSED = refuse(Outcome.INVALID_ARGUMENTS, PARSE_ERROR)


class _Api(NamedTuple):
    """Standardised names of a call and the documentation of its API."""

    names: tuple[str, str, str]
    spec: ApiSpec | None


class ToolService:
    """Answers tool calls in process.

    Thread-safe. Invalid calls and failing tools do not raise: they give a typed outcome.

    Args:
        catalog: Documentation of the APIs.
        resolvers: Sources of answers, called in this order until one answers; blocking ones after the others.
        strict_arguments: Refuse calls whose arguments do not fit the documentation. Off by default, because recorded
            calls often do not fit.
        codec: Decodes and encodes state tokens for the callers that carry them as text (the HTTP server, a client in
            process). The service itself takes and returns states. Without a codec a state is opaque to the service.
        max_depth: Maximum nesting of the arguments.
        upstream_workers: Number of threads that `call_many` uses for blocking resolvers.
    """

    def __init__(
        self,
        catalog: ApiLookup,
        resolvers: Sequence[Resolver],
        *,
        strict_arguments: bool = False,
        codec: StateCodec | None = None,
        max_depth: int = MAX_DEPTH,
        upstream_workers: int = 8,
    ) -> None:
        self.catalog = catalog
        self.resolvers = tuple(resolvers)
        self.codec = codec
        self._inline = tuple(resolver for resolver in resolvers if not resolver.blocking)
        self._blocking = tuple(resolver for resolver in resolvers if resolver.blocking)
        self._needs_key = any(getattr(resolver, "needs_key", True) for resolver in resolvers)
        self._strict = strict_arguments
        self._max_depth = max_depth
        self._upstream_workers = upstream_workers
        # Calls repeat, above all in training, so the checks of short calls are cached, and so are look-ups of names.
        # The catalog of a service does not change.
        self._check_cached = lru_cache(maxsize=4096)(self._check_short)
        self._look_up_cached = lru_cache(maxsize=4096)(self._look_up)

    def call(self, call: ToolCall) -> ToolResponse:
        """Answer one call, by blocking resolvers if no other one answers."""
        answer = self.start(call)
        return answer if isinstance(answer, ToolResponse) else answer()

    def start(self, call: ToolCall) -> ToolResponse | PendingAnswer:
        """Answer one call without blocking, or return the work that may block, to be run on a thread."""
        checked, state = self._check(call), call.state
        if isinstance(checked, ToolResponse):
            return checked._replace(state=state) if state else checked
        if isinstance(state, EpisodeState):
            return partial(self._advance, checked, state) if self._blocking else self._advance(checked, state)
        checked = checked.carrying(state) if state else checked
        answer = _first_answer(self._inline, checked)
        if answer is not None:
            return answer
        return partial(self._resolve_blocking, checked) if self._blocking else _no_answer(checked)

    def call_many(self, calls: Sequence[ToolCall]) -> list[ToolResponse]:
        """Answer several calls, in their order. No call sees the effects of another.

        A call whose recording is damaged has the outcome `failed`; `call` and `start` raise `DamagedEntryError`.
        """
        answers: list[ToolResponse | PendingAnswer] = []
        for call in calls:
            try:
                answers.append(self.start(call))
            except DamagedEntryError as error:
                answers.append(refuse_damaged(call, error))
        pending = [(answer, call) for answer, call in zip(answers, calls, strict=True) if callable(answer)]
        if not pending:
            return cast(list[ToolResponse], answers)
        with ThreadPoolExecutor(min(self._upstream_workers, len(pending))) as pool:
            late = pool.map(_wait, pending)
            return [next(late) if callable(answer) else answer for answer in answers]

    def close(self) -> None:
        """Close the resolvers. The service cannot be used afterwards."""
        for resolver in self.resolvers:
            resolver.close()

    def _look_up(self, category: str, tool: str, api: str) -> _Api:
        return _Api(api_key(category, tool, api), self.catalog.get(category, tool, api))

    def _check(self, call: ToolCall) -> ValidatedCall | ToolResponse:
        """Return the validated call, or its refusal, without the state."""
        category, tool, api, arguments, _, parsed = call
        length = len(category) + len(tool) + len(api)
        if parsed is None and type(arguments) is str and length + len(arguments) <= _CACHED_LENGTH:
            return self._check_cached(category, tool, api, arguments)
        look_up = self._look_up_cached if length <= _CACHED_LENGTH else self._look_up
        is_json = parsed is not None or isinstance(arguments, str)
        if parsed is None:
            parsed = _read_arguments(arguments) if isinstance(arguments, str) else arguments
        return self._check_arguments(look_up(category, tool, api), parsed, is_json)

    def _check_short(self, category: str, tool: str, api: str, arguments: str) -> ValidatedCall | ToolResponse:
        return self._check_arguments(self._look_up_cached(category, tool, api), _read_arguments(arguments), True)

    def _check_arguments(self, api: _Api, arguments: Any, is_json: bool) -> ValidatedCall | ToolResponse:
        """Check the arguments; `is_json` where they were parsed from text. Others may hold values that are not JSON."""
        if api.names[2] == "chat_with_user":  # the reference server answers it whatever the arguments are
            return _CHAT
        if not isinstance(arguments, dict):
            return _UNPARSED
        if is_deeper(arguments, self._max_depth):
            return refuse(Outcome.INVALID_ARGUMENTS, f"Arguments nested deeper than {self._max_depth} levels.")
        if self._strict and api.spec is not None:
            problem = argument_problem(api.spec, arguments)
            if problem:
                return refuse(Outcome.INVALID_ARGUMENTS, problem)
        key = b""
        if self._needs_key or not is_json:
            try:
                text = canonical_arguments(arguments)
            except DataError:
                return _UNPARSED
            key = key_of_text(api.names, text) if self._needs_key else b""
        return ValidatedCall(*api.names, arguments, key, api.spec)

    def _advance(self, call: ValidatedCall, state: EpisodeState) -> ToolResponse:
        """Count the call in its episode, and answer it by an injected fault or by the resolvers."""
        drawn = draw_fault(state, call.tool, call.api)
        if drawn.failure is not None:
            return drawn.failure._replace(state=drawn.state)
        call = call.carrying(drawn.state)
        answer = _first_answer(self.resolvers, call) or _no_answer(call)
        return answer._replace(latency=answer.latency + drawn.latency) if drawn.latency else answer

    def _resolve_blocking(self, call: ValidatedCall) -> ToolResponse:
        return _first_answer(self._blocking, call) or _no_answer(call)


def _wait(pending: tuple[PendingAnswer, ToolCall]) -> ToolResponse:
    answer, call = pending
    try:
        return answer()
    except DamagedEntryError as error:
        return refuse_damaged(call, error)


def _first_answer(resolvers: Sequence[Resolver], call: ValidatedCall) -> ToolResponse | None:
    for resolver in resolvers:
        answer = resolver.resolve(call)
        if answer is not None:
            return _carry(answer, call.state) if call.state else answer
    return None


def _read_arguments(text: str) -> Any:
    if text == "":
        return {}
    try:
        return parse(text)
    except ValueError:
        return None


def _no_answer(call: ValidatedCall) -> ToolResponse:
    if call.spec is None:
        name = f"{call.api} of {call.tool} in {call.category}"
        return _carry(refuse(Outcome.UNKNOWN_API, f"Unknown API: {name}."), call.state)
    return _carry(refuse(Outcome.NOT_RECORDED, "No recorded response for this call."), call.state)


def _carry(answer: ToolResponse, state: EpisodeState | str) -> ToolResponse:
    """Return `answer` with the state of the call if it has none: the resolver changed nothing."""
    if answer.state:
        return answer
    body, outcome, provenance, _, latency, result = answer
    return ToolResponse(body, outcome, provenance, state, latency, result)  # `_replace` takes four times as long
