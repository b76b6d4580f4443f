"""Numeric form of a text environment: enumerated candidate actions with numeric features.

`CandidateView` follows one episode through the text that a text agent sees, lists the candidate actions and computes
their features. `DiscreteToolEnv` wraps a `ToolEnv`: every action is rendered as text for the text environment.
"""

from steptool_env.discrete.candidates import Candidate
from steptool_env.discrete.env import DiscreteToolEnv
from steptool_env.discrete.view import CandidateView

__all__ = ["Candidate", "CandidateView", "DiscreteToolEnv"]
