"""Gymnasium environments in which one tool call is one step. Importing registers them."""

from gymnasium import register

__version__ = "0.1.0"

register(
    id="StepTool/StableToolBench-v0",
    entry_point="steptool_env.envs.stabletoolbench:StableToolBenchEnv",
    vector_entry_point="steptool_env.envs.stabletoolbench:StableToolBenchVectorEnv",
)

register(
    id="StepTool/ToolWorld-v0",
    entry_point="steptool_env.envs.toolworld:ToolWorldEnv",
    vector_entry_point="steptool_env.envs.toolworld:ToolWorldVectorEnv",
)

register(
    id="StepTool/ToolWorldDiscrete-v0",
    entry_point="steptool_env.envs.toolworld_discrete:ToolWorldDiscreteEnv",
    vector_entry_point="steptool_env.envs.toolworld_discrete:ToolWorldDiscreteVectorEnv",
)

register(
    id="StepTool/BFCL-v0",
    entry_point="steptool_env.envs.bfcl:BFCLEnv",
    vector_entry_point="steptool_env.envs.bfcl:BFCLVectorEnv",
)

register(
    id="StepTool/ComplexFuncBench-v0",
    entry_point="steptool_env.envs.complexfuncbench:ComplexFuncBenchEnv",
    vector_entry_point="steptool_env.envs.complexfuncbench:ComplexFuncBenchVectorEnv",
)
