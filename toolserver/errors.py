"""Exceptions of the project's packages, as far as more than one of them raises or catches them.

The module has no imports, so every package can use it without loading the server. `steptool_env.errors` and
`agents.errors` export the classes that their users catch.

A failing tool is not an exception but an outcome (see `toolserver.catalog.api_schema.Outcome`).

    StepToolError
    ├── ConfigurationError     a setting or argument is wrong; names the field, the value and the remedy
    ├── DataError              a file has the wrong content; names file, key and reason
    │   └── ConflictError      two recordings of one call disagree and the policy is `error`
    └── ToolServerError        the tool server cannot start or answer
        ├── CacheError         the store is missing, read-only, of another version or damaged
        │   └── DamagedEntryError  one recording is not what was recorded
        └── StateTokenError    a state token is forged, cut or from another server
"""


class StepToolError(Exception):
    """Base of every exception that the project raises on purpose."""


class ConfigurationError(StepToolError, ValueError):
    """A setting or argument is wrong."""


class DataError(StepToolError):
    """A file has the wrong content."""


class ConflictError(DataError):
    """Two recordings of one call disagree."""


class ToolServerError(StepToolError):
    """The tool server cannot start or answer."""


class CacheError(ToolServerError):
    """The response store is missing, read-only, of another version or damaged."""


class DamagedEntryError(CacheError):
    """One recording does not match its hash or has another type; the others can be read."""


class StateTokenError(ToolServerError):
    """A state token is forged, cut or from another server."""
