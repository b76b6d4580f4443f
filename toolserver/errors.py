"""The exceptions of the tool server.

A failing tool is data (see `toolserver.catalog.api_schema.Outcome`), not an exception. What raises is a wrong
request to this library, a damaged file or a broken store:

    ToolServerError
    ├── ConfigurationError     a setting or argument is wrong; names the field, the value and the remedy
    ├── DataError              a file does not hold what it should; names file, key and reason
    │   └── ConflictError      two recordings of one call disagree and the policy is `error`
    ├── CacheError             the store is missing, read-only, of another version or damaged
    └── StateTokenError        an episode's state token is forged, cut or from another server
"""


class ToolServerError(Exception):
    """Base of every exception that `toolserver` raises on purpose."""


class ConfigurationError(ToolServerError):
    """A setting or argument is wrong."""


class DataError(ToolServerError):
    """A file does not hold what it should."""


class ConflictError(DataError):
    """Two recordings of one call disagree."""


class CacheError(ToolServerError):
    """The response store is missing, read-only, of another version or damaged."""


class StateTokenError(ToolServerError):
    """A state token is forged, cut or foreign."""
