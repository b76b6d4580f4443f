"""Exceptions of `steptool_env`.

StepToolError
├── ConfigurationError     an argument is invalid; the message lists valid values
├── DataError              a trajectory, query or run file has invalid content
├── ToolTransportError     the tool server is unreachable or breaks the protocol
└── ChatError              a chat model is unreachable or gives no usable answer
    └── ChatUnreachableError the endpoint accepts no connection

The first three are defined in `toolserver.errors`, for all packages.
"""

from toolserver.errors import ConfigurationError, DataError, StepToolError

__all__ = [
    "ChatError",
    "ChatUnreachableError",
    "ConfigurationError",
    "DataError",
    "StepToolError",
    "ToolTransportError",
]


class ToolTransportError(StepToolError):
    """A call could not be sent or its response not received. A failure of the tool itself is a response."""


class ChatError(StepToolError):
    """A chat model (judge or agent) gave no usable answer within the retries."""


class ChatUnreachableError(ChatError):
    """The endpoint of a chat model accepts no connection."""
