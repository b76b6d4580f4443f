"""Planning of ToolWorld tasks: plans, tool sets, splits and samplers."""
