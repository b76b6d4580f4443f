"""The page `/docs`: the OpenAPI document as HTML, without scripts and without a request to another host."""

import json
from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "pre{background:#f4f4f4;padding:.7rem;overflow:auto}code{background:#f4f4f4}"
    "td,th{text-align:left;padding:0 1rem 0 0}"
)


def docs_page(document: Mapping[str, Any]) -> str:
    """HTML of an OpenAPI document: its routes with parameters, an example of each request, and the schemas."""
    info = document["info"]
    routes = [
        _route(path, method, operation, document)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    schemas = [
        f"<details id='{escape(name)}'><summary>{escape(name)}</summary>{_json(schema)}</details>"
        for name, schema in document["components"]["schemas"].items()
    ]
    return (
        f"<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>{escape(info['title'])}</title>"
        f"<style>{_STYLE}</style></head><body><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"<p>{escape(info['summary'])} Machine-readable: <a href='openapi.json'>openapi.json</a>.</p>"
        f"{''.join(routes)}<h2>Schemas</h2>{''.join(schemas)}</body></html>"
    )


def _route(path: str, method: str, operation: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    parameters = "".join(
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['schema'].get('type', ''))}</td>"
        f"<td>{escape(each.get('description', each['schema'].get('description', '')))}</td></tr>"
        for each in operation.get("parameters", ())
    )
    answers = ", ".join(
        f"{escape(status)} ({escape(answer['description'].rstrip('.'))})"
        for status, answer in sorted(operation["responses"].items())
    )
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    return (
        f"<h2><code>{method.upper()} {escape(path)}</code></h2><p><b>{escape(operation.get('summary', ''))}</b></p>"
        f"<p>{escape(operation.get('description', ''))}</p>"
        + (f"<table><tr><th>parameter</th><th>type</th><th></th></tr>{parameters}</table>" if parameters else "")
        + (f"<p>Request, for example:</p>{_json(_example(body, document))}" if body else "")
        + f"<p>Answers: {answers}</p>"
    )


def _example(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Any:
    """The first example of a schema; of an array, one of its elements in a list."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "items" in schema:
        return [_example(schema["items"], document)]
    return schema["anyOf"][0]["examples"][0] if "anyOf" in schema else schema["examples"][0]


def _json(value: Any) -> str:
    return f"<pre>{escape(json.dumps(value, indent=1, ensure_ascii=False))}</pre>"
