"""Exceptions of `agents`.

ConfigurationError     a field of a configuration is wrong; says which, and what is valid (`toolserver.errors`)
AgentError
├── ModelError         a model, tokenizer or chat template cannot be used
├── TrainingError      training cannot continue (a loss that is not finite, no usable episode)
├── EngineError        a rollout server cannot be reached or its answer is invalid
├── RequestError       a request to a policy server cannot be answered; the message names field, value and remedy
└── CheckpointError    a checkpoint is incomplete, damaged or of another model
"""

from toolserver.errors import ConfigurationError, StepToolError

__all__ = [
    "AgentError",
    "CheckpointError",
    "ConfigurationError",
    "EngineError",
    "ModelError",
    "RequestError",
    "TrainingError",
]


class AgentError(StepToolError):
    """Base of the exceptions that only `agents` raises on purpose."""


class ModelError(AgentError, ValueError):
    """A model, tokenizer or chat template cannot be used."""


class TrainingError(AgentError):
    """Training cannot continue."""


class EngineError(AgentError):
    """A rollout server cannot be reached or its answer is invalid."""


class RequestError(AgentError, ValueError):
    """A request to a policy server cannot be answered."""


class CheckpointError(AgentError):
    """A checkpoint is incomplete, damaged or of another model."""
