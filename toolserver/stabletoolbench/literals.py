"""Python literals in data files, read without executing anything."""

from __future__ import annotations

import ast
import warnings
from typing import Any

from toolserver.errors import DataError

_NON_FINITE = {"nan": float("nan"), "inf": float("inf")}


def read_literal(text: str) -> Any:
    """The value of `text`, which was written by `str()` of plain data.

    Raises:
        DataError: It is no literal.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in text that is damaged anyway
            tree = ast.parse(text.strip(), mode="eval")
        try:
            return ast.literal_eval(tree)
        except ValueError:  # a name, perhaps of a number; to look for those in every text takes longer than to read it
            return ast.literal_eval(_NamedNumbers().visit(tree))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise DataError(f"not a Python literal ({type(error).__name__}: {error!s:.100})") from None


def read_dict(text: str) -> dict[Any, Any]:
    """The dictionary of `text`.

    Raises:
        DataError: It is none.
    """
    value = read_literal(text)
    if not isinstance(value, dict):
        raise DataError(f"not a dictionary but {type(value).__name__}")
    return value


class _NamedNumbers(ast.NodeTransformer):
    """`str()` writes floats that are not finite as names."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_NON_FINITE[node.id]) if node.id in _NON_FINITE else node
