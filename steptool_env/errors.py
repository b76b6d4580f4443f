"""Exceptions of `steptool_env`.

StepToolError                base of all (`toolserver.errors`)
├── ConfigurationError     an argument is invalid; the message lists valid values (`toolserver.errors`)
├── DataError              a trajectory, query or run file has invalid content (`toolserver.errors`)
├── ToolTransportError     the tool server is unreachable or breaks the protocol
└── ChatError              a chat model is unreachable or gives no usable answer
    ├── ChatRefusedError   the endpoint refuses the conversation, or the model's messages are unusable
    └── ChatUnreachableError the endpoint accepts no connection
"""

from toolserver.errors import ConfigurationError, DataError, StepToolError

__all__ = [
    "ChatError",
    "ChatRefusedError",
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


class ChatRefusedError(ChatError):
    """The endpoint works and refuses the conversation, e.g. for its length, or the model's messages are unusable."""


class ChatUnreachableError(ChatError):
    """The endpoint of a chat model accepts no connection."""
