"""Exceptions of `steptool_env`.

StepToolError
├── ConfigurationError     an argument is invalid; the message lists valid values
├── DataError              a trajectory, query or run file has invalid content
├── ToolTransportError     the tool server is unreachable or breaks the protocol
└── ChatError              a chat model is unreachable or gives no usable answer
    └── ChatUnreachableError the endpoint accepts no connection
"""


class StepToolError(Exception):
    """Base class."""


class ConfigurationError(StepToolError, ValueError):
    """An argument is invalid."""


class DataError(StepToolError):
    """A file has invalid content."""


class ToolTransportError(StepToolError):
    """A call could not be sent or its response not received. A failure of the tool itself is a response."""


class ChatError(StepToolError):
    """A chat model (judge or agent) gave no usable answer within the retries."""


class ChatUnreachableError(ChatError):
    """The endpoint of a chat model accepts no connection."""
