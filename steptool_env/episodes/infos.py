"""Conversion of the infos of many environments to one dictionary of columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

Infos = dict[str, Any]


def batch_infos(rows: Mapping[int, Mapping[str, Any]], num_envs: int) -> Infos:
    """Return the same as Gymnasium's `VectorEnv._add_info`, several times faster.

    Args:
        rows: Info by index of the environment, in ascending order.
        num_envs: Length of the columns.

    Returns:
        Per key a column (numbers as a numeric array, dictionaries as nested columns, others as objects), and under
        `_key` the mask of the environments with this key. Shape of columns and masks: (num_envs,).
    """
    cells: defaultdict[str, dict[int, Any]] = defaultdict(dict)
    for index, row in rows.items():
        for key, value in row.items():
            cells[key][index] = value
    infos: Infos = {}
    everywhere = np.ones(num_envs, np.bool_)  # copied, which is faster than creating
    for key, column in cells.items():
        infos[key] = _column(key, column, num_envs)
        infos[f"_{key}"] = everywhere.copy() if len(column) == num_envs else _mask(column, num_envs)
    return infos


def _column(key: str, column: dict[int, Any], num_envs: int) -> Any:
    first = next(iter(column.values()))
    if isinstance(first, dict):
        return batch_infos(column, num_envs)
    kind: Any = type(first) if type(first) in (int, float, bool) and key != "final_obs" else object
    values = np.fromiter(column.values(), kind, len(column))
    if len(column) == num_envs:
        return values
    spread = np.zeros(num_envs, kind) if kind is not object else np.full(num_envs, None, kind)
    spread[list(column)] = values
    return spread


def _mask(column: dict[int, Any], num_envs: int) -> Any:
    mask = np.zeros(num_envs, np.bool_)
    mask[list(column)] = True
    return mask
