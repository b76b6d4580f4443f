"""BFCL's multi-turn tasks: reader of their data, and their simulated APIs, whose calls are dispatched by name."""

from toolserver.bfcl.data import CATEGORIES, CATEGORY, BfclTask, GoldCall, load_apis, load_tasks
from toolserver.bfcl.simulation import Answer, Simulation, Simulator

__all__ = [
    "CATEGORIES",
    "CATEGORY",
    "Answer",
    "BfclTask",
    "GoldCall",
    "Simulation",
    "Simulator",
    "load_apis",
    "load_tasks",
]
