"""Clients of the tools: in process or over HTTP."""

from steptool_env.client.base import ToolClient
from steptool_env.client.http import API_KEY_VARIABLE, HttpToolClient
from steptool_env.client.info_check import ServedSuite, ServerMatch
from steptool_env.client.local import LocalToolClient

__all__ = ["API_KEY_VARIABLE", "HttpToolClient", "LocalToolClient", "ServedSuite", "ServerMatch", "ToolClient"]
