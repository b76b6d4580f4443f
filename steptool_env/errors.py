"""The exceptions of the environment.

StepToolError                base of all (`toolserver.errors`)
├── ConfigurationError     an argument of `gym.make` is wrong; lists what is valid (`toolserver.errors`)
├── DataError              a trajectory, query or run file has the wrong content (`toolserver.errors`)
├── ToolTransportError     the tool server is away or answered with a broken protocol
└── ChatError              a chat model is away or gives no usable answer
    └── ChatUnreachableError there is nothing to connect to
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
    """A call could not be carried to the tool server and back (not: the tool failed)."""


class ChatError(StepToolError):
    """A chat model, judge or agent, could not be asked, or answered nothing usable within its retries."""


class ChatUnreachableError(ChatError):
    """No chat model could be connected to within the retries: nothing that a conversation could be at fault for."""
