"""The exceptions of the environment.

StepToolError
├── ConfigurationError     an argument of `gym.make` is wrong; lists what is valid
├── DataError              a trajectory, query or run file does not hold what it should
├── ToolTransportError     the tool server is away or answered with a broken protocol
└── ChatError              a chat model is away or gives no usable answer
    └── ChatUnreachableError there is nothing to connect to
"""


class StepToolError(Exception):
    """Base of every exception that `steptool_env` raises on purpose."""


class ConfigurationError(StepToolError, ValueError):
    """An argument is wrong."""


class DataError(StepToolError):
    """A file does not hold what it should."""


class ToolTransportError(StepToolError):
    """A call could not be carried to the tool server and back (not: the tool failed)."""


class ChatError(StepToolError):
    """A chat model, judge or agent, could not be asked, or answered nothing usable within its retries."""


class ChatUnreachableError(ChatError):
    """No chat model could be connected to within the retries: nothing that a conversation could be at fault for."""
