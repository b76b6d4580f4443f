"""The numeric twin of a text environment: enumerated candidate actions, described by numbers.

`CandidateView` follows one episode by what a text agent sees, lists the candidate actions and describes them.
`DiscreteToolEnv` puts a view in front of a `ToolEnv`: every action is written as text and goes through the text
environment.
"""

from steptool_env.discrete.candidates import Candidate
from steptool_env.discrete.env import DiscreteToolEnv
from steptool_env.discrete.view import CandidateView

__all__ = ["Candidate", "CandidateView", "DiscreteToolEnv"]
