"""The exceptions of the learner.

ConfigurationError     a field of a configuration is wrong; says which, and what is valid (`toolserver.errors`)
AgentError
├── ModelError         a model, tokenizer or chat template cannot be used
├── TrainingError      training cannot go on (a loss that is not finite, no usable episode)
├── EngineError        a rollout server cannot be reached or does not answer as it must
├── RequestError       a request to a policy server cannot be answered; names field, value and remedy
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
    """Training cannot go on."""


class EngineError(AgentError):
    """A rollout server cannot be reached or does not answer as it must."""


class RequestError(AgentError, ValueError):
    """A request to a policy server cannot be answered."""


class CheckpointError(AgentError):
    """A checkpoint is incomplete, damaged or of another model."""
