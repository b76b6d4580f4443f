"""Draws the data flow between the needed calls of a task, as Mermaid text."""

from steptool_env.complexfuncbench.task import GoldTask


def mermaid(task: GoldTask) -> str:
    """Return the graph of a reference solution in Mermaid's language; look-ups, which may be missing, are dashed."""
    lines = ["flowchart LR", '    query(["request"])']
    lines += [f'    call{index}["{call.function}"]' for index, call in enumerate(task.calls)]
    lines.append('    answer(["answer"])')
    for index, call in enumerate(task.calls):
        holders = dict.fromkeys(f"call{each[0]}" for each in call.inputs) or {"query": None}
        lines += [f"    {holder} --> call{index}" for holder in holders]
    lines += [f"    call{index} --> answer" for index in task.leaves]
    lines += [f"    style call{i} stroke-dasharray: 5 5" for i, call in enumerate(task.calls) if call.is_lookup]
    return "\n".join(lines) + "\n"
