"""Planning of ToolWorld tasks: plans, toolsets, splits and obstacles."""
