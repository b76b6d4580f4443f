"""The numeric twin of a text environment: enumerated candidate actions, described by numbers.

`Scene` follows one episode by what a text agent sees, lists the candidate actions and describes them. `DiscreteToolEnv`
puts a scene in front of a `ToolEnv`: every action is written as text and goes through the text environment.
"""

from steptool_env.discrete.candidates import Candidate
from steptool_env.discrete.env import DiscreteToolEnv
from steptool_env.discrete.scene import Scene

__all__ = ["Candidate", "DiscreteToolEnv", "Scene"]
