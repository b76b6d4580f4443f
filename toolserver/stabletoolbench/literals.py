"""Parser of Python literals in data files, without evaluation."""

import ast
import warnings
from typing import Any

from toolserver.errors import DataError

_NON_FINITE = {"nan": float("nan"), "inf": float("inf")}


def read_literal(text: str) -> Any:
    """Parse `text` that `str()` of plain data wrote. Raises `DataError` if it is not a literal."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about invalid escapes in damaged text
            tree = ast.parse(text.strip(), mode="eval")
        try:
            return ast.literal_eval(tree)
        except ValueError:  # a name, perhaps `nan`; replacing names in every text takes longer than parsing
            return ast.literal_eval(_NamedNumbers().visit(tree))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise DataError(f"not a Python literal ({type(error).__name__}: {error!s:.100})") from None


def read_dict(text: str) -> dict[Any, Any]:
    """Parse `text` as a dictionary. Raises `DataError` if it is not one."""
    value = read_literal(text)
    if not isinstance(value, dict):
        raise DataError(f"not a dictionary but {type(value).__name__}")
    return value


class _NamedNumbers(ast.NodeTransformer):
    """Replaces the names that `str()` writes for floats that are not finite."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_NON_FINITE[node.id]) if node.id in _NON_FINITE else node
