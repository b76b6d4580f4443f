"""Agents that use tools, and their training and evaluation."""

from steptool_env.launch import check_import_name

check_import_name()
