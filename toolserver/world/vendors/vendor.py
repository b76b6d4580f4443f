"""A vendor: one tool of a domain, with an API for each of its operations."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from toolserver.catalog.api_schema import ApiSpec
from toolserver.world.changes import Changes
from toolserver.world.levels import WorldLevel
from toolserver.world.schema import Answer, Domain, Operation, OperationKind, Output, Row, Slot, WorldView
from toolserver.world.types import PAGE, TEXT, TOKEN
from toolserver.world.vendors.api import PAGE_INPUT, TOKEN_INPUT, Health, VendorApi, VendorInfo, is_volatile
from toolserver.world.vendors.documentation import Extras, describe, describe_tool, parameter
from toolserver.world.vendors.naming import cased, unique_names
from toolserver.world.vendors.response_layout import Layout
from toolserver.world.vendors.style import VendorStyle
from toolserver.world.vendors.value_codecs import codec_of

_LOGIN_VERBS = ("login", "get token", "authenticate", "open session")
_TOKEN_WORDS = ("token", "session", "access_key", "auth_token")


class VendorTool:
    """One vendor.

    Attributes:
        index: Position among the world's vendors.
        name: Published name.
        domain: Domain of its operations.
        style: Style of its documentation and answers.
        operations: Operations of its APIs; a login is the first.
    """

    def __init__(
        self,
        index: int,
        name: str,
        domain: Domain,
        style: VendorStyle,
        operations: Sequence[Operation],
        outages: Mapping[str, Health],
        level: WorldLevel,
    ) -> None:
        self.index = index
        self.name = name
        self.domain = domain
        self.style = style
        self._level = level
        self._outages = outages
        login = (self._login_operation(),) if style.needs_token else ()
        self.operations: tuple[Operation, ...] = (*login, *operations)
        self._names = self._api_names()
        self._info = VendorInfo(index, style, self._names[login[0].name] if login else "")

    def __repr__(self) -> str:
        return f"VendorTool({self.index}, {self.name!r}, {len(self.operations)} APIs)"

    @cached_property
    def apis(self) -> tuple[VendorApi, ...]:
        """APIs, one per operation."""
        text = describe_tool(self.name, self.domain, self.style, self._level.documentation)
        login_api = self._api(self.operations[0], text, None) if self.style.needs_token else None
        others = (self._api(operation, text, login_api) for operation in self.operations[self.style.needs_token :])
        return tuple(others) if login_api is None else (login_api, *others)

    @cached_property
    def by_key(self) -> Mapping[str, VendorApi]:
        """APIs by standardised name."""
        return {api.key[2]: api for api in self.apis}

    def api_of(self, operation: str) -> VendorApi | None:
        """Return the API of the operation of this name, or `None`."""
        return self._by_operation.get(operation)

    @cached_property
    def _by_operation(self) -> Mapping[str, VendorApi]:
        return {api.operation.name: api for api in self.apis}

    def _api(self, operation: Operation, tool_text: str, login_api: VendorApi | None) -> VendorApi:
        style, level = self.style, self._level
        layout = Layout(operation, style)
        slots = self._slots(operation, layout)
        names = self._parameter_names(slots)
        sound = Health.STALE if style.stale and is_volatile(operation) else Health.OK
        health = self._outages.get(operation.name, sound)
        token_name = names.get(TOKEN_INPUT, "")
        extras = Extras(health is Health.STALE, token_name, self._info.login_name, layout.page_size, level.rows)
        documented = [
            (slot.required, parameter(slot, names[name], codec_of(slot.type, style.values), level.documentation))
            for name, slot in slots.items()
        ]
        spec = ApiSpec(
            self.domain.category,
            self.name,
            self._names[operation.name],
            describe(operation, style, extras, level.documentation),
            tuple(each for required, each in documented if required),
            tuple(each for required, each in documented if not required),
            "POST" if operation.kind.writes or operation.kind is OperationKind.LOGIN else "GET",
            layout.template(),
            tool_text,
        )
        return VendorApi(self._info, operation, spec, slots, names, health, layout, level.rows, login_api)

    def _slots(self, operation: Operation, layout: Layout) -> dict[str, Slot]:
        slots = dict(operation.inputs)
        if self.style.needs_token and operation.kind is not OperationKind.LOGIN:
            slots[TOKEN_INPUT] = Slot(TOKEN, f"token from {self._info.login_name}", aka=_TOKEN_WORDS[1:])
        if layout.page_size:
            slots[PAGE_INPUT] = Slot(PAGE, "page number, from 1", False, 1, ("page_number", "p"), low=1, high=1_000_000)
        return slots

    def _parameter_names(self, slots: Mapping[str, Slot]) -> dict[str, str]:
        style = self.style
        return unique_names(
            (name, cased(style.chosen(name, slot.aka), style.fields), cased(name, style.fields))
            for name, slot in slots.items()
        )

    def _api_names(self) -> dict[str, str]:
        style = self.style
        wanted = []
        for operation in self.operations:
            verbs = operation.verbs
            verb = verbs[(style.synonyms + len(operation.name)) % len(verbs)]
            wanted.append((operation.name, cased(verb, style.endpoints), cased(_plain(operation), style.endpoints)))
        return unique_names(wanted)

    def _login_operation(self) -> Operation:
        """Return the operation that returns the vendor's token."""
        name = f"vendor{self.index}.login"

        def run(world: WorldView, _: Mapping[str, Any], changes: Changes) -> Answer:
            return [Row(name, {"token": self._info.token(world.seed, changes)})], changes

        inputs = {"client": Slot(TEXT, "name of your application", False, "guest", ("app", "client_id", "application"))}
        outputs = {"token": Output(TOKEN, f"{name}.token", "token", _TOKEN_WORDS[1:])}
        return Operation(
            name, OperationKind.LOGIN, f"vendor{self.index}", inputs, outputs, run,
            phrase="Get a token for the other endpoints", verbs=_LOGIN_VERBS, domain=self.domain.name,
        )  # fmt: skip


def _plain(operation: Operation) -> str:
    """Return words that are unique to an operation."""
    subject, _, verb = operation.name.partition(".")
    return f"{subject} {verb}".replace("_", " ")
