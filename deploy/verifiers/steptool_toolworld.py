"""Environment `steptool-toolworld` of verifiers, which looks for a package of this name."""

from steptool_env.integrations.verifiers import ToolTaskEnv, ToolTaskset

__all__ = ["ToolTaskEnv", "ToolTaskset"]
