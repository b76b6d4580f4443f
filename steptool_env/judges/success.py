"""Success of a tool call, from the body of its response.

An empty `error` is not sufficient: recorded APIs answer `{"error": "", "response": "{'message': 'Not Found'}"}`. The
word "error" in the body is not sufficient either: an API may list error codes. Therefore the response is parsed (JSON,
or a Python literal inside a string, as StableToolBench records them), its status fields are read, and failure phrases
count only if a message is the whole response.
"""

import json
import re
from functools import lru_cache
from typing import Any

import orjson

from toolserver.calls.json_parsing import check_nesting
from toolserver.errors import DataError
from toolserver.stabletoolbench.literals import read_literal

_SHORT = 400  # characters; longer text is content, not a message
_FEW = 4  # fields; a larger object is content, not a message
_CLIENT_ERROR = 400
_STATUS_DIGITS = 4
_STATUS_FIELDS = ("status", "statuscode", "status_code", "code", "httpcode", "errorcode")
_ERROR_FIELDS = ("error", "errors", "err", "error_message", "errormessage", "exception")
_MESSAGE_FIELDS = ("message", "msg", "detail", "details", "info", "messages", "reason", "title", "description")
_SUCCESS_FIELDS = ("success", "ok", "successful", "succeeded")
_FAILURE_WORDS = frozenset({"error", "fail", "failed", "failure", "false", "ko", "nok"})
_FAILURE = re.compile(
    r"not (be )?found|\bno (such|data|results?|record|match|longer|\w+ (exists?|found|provided))\b"
    r"|\b(does|do|did|is|are|was|could|can)(n['’]t| not)\b|\bcan(not|['’]t)\b|unable|unauthori[sz]ed|forbidden|denied"
    r"|not subscribed|invalid|missing|\brequired\b|must be|expired|time[d ]?\s?out|too many requests|rate limit"
    r"|\bquota\b|exceeded|unavailable|unsupported|went wrong|\berrors?\b|exception|\bfail(ed|ure|s)?\b|bad request"
    r"|please (provide|enter|specify|check|input|select)|\b(is|are) empty|\b[45]\d\d\b[ :-]"
    r"|not (working|allowed|valid|available|supported|enabled)|deprecated|blocked",
    re.IGNORECASE,
)
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_CUT_STATUS = re.compile(r"""^\{?\s*["']?(?:status|statusCode|status_code|code)["']?\s*:\s*["']?([45]\d\d)\b""")
_ERROR_START = re.compile(r"""^\{?\s*["']?(?:error|errors|message)["']?\s*:\s*["'{\[]""")


@lru_cache(maxsize=64)  # used at each step, and for all steps at the end
def body_succeeded(body: str) -> bool:
    """Return True if `body` (`{"error": ..., "response": ...}`, whole or cut) reports a success.

    An empty text or null is a failure; an empty list or object is a success (nothing matched).
    """
    parsed = _parse(body)
    if not isinstance(parsed, dict) or "error" not in parsed:
        return body.startswith('{"error": ""') and _text_succeeded(response_text(body).lstrip('"'))
    return not parsed["error"] and value_succeeded(parsed.get("response"))


def value_succeeded(response: Any) -> bool:
    """Return True if a parsed response reports a success."""
    if isinstance(response, str):
        inner = _parse(response)
        return _text_succeeded(response) if inner is None or isinstance(inner, str) else value_succeeded(inner)
    if isinstance(response, dict):
        return _object_succeeded({str(key).lower(): value for key, value in response.items()})
    return response is not None


def _object_succeeded(fields: dict[str, Any]) -> bool:
    if any(_is_failure_status(fields.get(name)) for name in _STATUS_FIELDS):
        return False
    if any(fields.get(name) not in (None, "", 0, False, [], {}) for name in _ERROR_FIELDS):
        return False
    flags = [fields[name] for name in _SUCCESS_FIELDS if isinstance(fields.get(name), str | bool)]
    if any(str(flag).lower() in _FAILURE_WORDS for flag in flags):
        return False
    if len(fields) > _FEW:
        return True
    messages = [fields[name] for name in _MESSAGE_FIELDS if isinstance(fields.get(name), str)]
    return not any(_is_failure_message(message) for message in messages)


def _is_failure_status(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, str) and not value.isdecimal():
        return value.lower() in _FAILURE_WORDS
    if isinstance(value, str) and len(value) > _STATUS_DIGITS:
        return False  # no status; and Python refuses to convert texts of thousands of digits
    return isinstance(value, int | str) and _CLIENT_ERROR <= int(value) < 2 * _CLIENT_ERROR - 200


def _text_succeeded(text: str) -> bool:
    cut_failure = _CUT_STATUS.match(text) or (_ERROR_START.match(text) and _FAILURE.search(text[:_SHORT]))
    return bool(text.strip(' "\n')) and not cut_failure and not _is_failure_message(text)


def _is_failure_message(text: str) -> bool:
    return len(text) <= _SHORT and _FAILURE.search(text) is not None


def response_text(body: str) -> str:
    """Return the response inside `body`, whole or cut, as text without escapes."""
    parsed = _parse(body)
    if isinstance(parsed, dict) and "response" in parsed:
        response = parsed["response"]
        return response if isinstance(response, str) else _as_text(response)
    text = body.partition('"response": ')[2] or body
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text).replace("\\n", "\n").replace('\\"', '"')


def _as_text(value: Any) -> str:
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # lone surrogates; integers beyond 64 bits and names that are not strings, in a Python literal
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str, skipkeys=True)


def _parse(text: str) -> Any:
    """Return the value of `text` as JSON or as a Python literal; `None` if it is neither."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    if text.lstrip()[:1] not in {"{", "["}:
        return None
    if "\\ud" in text:  # perhaps a lone surrogate, which orjson refuses
        try:
            check_nesting(text)
            return json.loads(text)
        except ValueError:
            pass
    try:
        return read_literal(text)
    except DataError:
        return None
