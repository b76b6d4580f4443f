"""Exceptions of `agents`."""

from toolserver.errors import ConfigurationError, StepToolError

__all__ = [
    "AgentError",
    "CheckpointError",
    "ConfigurationError",
    "EngineError",
    "HarnessError",
    "ModelError",
    "RequestError",
    "TrainingError",
]


class AgentError(StepToolError):
    """Base of the exceptions that only `agents` raises on purpose."""


class ModelError(AgentError, ValueError):
    """A model, tokenizer or chat template cannot be used."""


class TrainingError(AgentError):
    """Training cannot continue: a loss is not finite, or no episode is usable."""


class EngineError(AgentError):
    """A rollout server cannot be reached or its answer is invalid."""


class HarnessError(AgentError):
    """A harness plays no episode: it never asks the model, or its calls hang."""


class RequestError(AgentError, ValueError):
    """A request to a policy server cannot be answered; the message names field, value and remedy."""


class CheckpointError(AgentError):
    """A checkpoint is incomplete, damaged or of another model."""
