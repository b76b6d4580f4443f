"""ComplexFuncBench: tasks with recorded answers, graded by their reference calls without a judge."""
