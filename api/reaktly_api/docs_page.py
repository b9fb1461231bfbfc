"""The documentation for people: one page from the OpenAPI document, without scripts.

Everything that comes from the document is escaped, and the content policy allows
nothing but the page's own style sheet.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from reaktly_api.dialects import REAKTLY, dialect_of

Json = Mapping[str, Any]

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--accent:#0a6;--code:ui-monospace,monospace}
body{font:16px/1.55 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1.5rem}
h1{margin:.2em 0}h2{margin-top:2.5em;border-bottom:1px solid var(--line)}
section{border:1px solid var(--line);border-radius:8px;padding:0 1rem 1rem;margin:1rem 0}
h3{font:600 1rem var(--code);overflow-wrap:anywhere}h3 b{color:var(--accent);margin-right:.5em}
code,pre{font-family:var(--code);font-size:.88em}code{background:var(--soft);padding:0 .25em}
pre{background:var(--soft);padding:.8em;border-radius:6px;overflow:auto}
table{border-collapse:collapse;width:100%;font-size:.92em}
td,th{text-align:left;vertical-align:top;border-top:1px solid var(--line);padding:.3em .6em .3em 0}
nav a{margin-right:1em;white-space:nowrap}a{color:inherit}summary{cursor:pointer}
"""
_CODE = re.compile(r"`([^`]*)`")


def render(document: Json) -> tuple[str, str]:
    """The page, and the Content-Security-Policy that it is served with."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return "".join(_page(document)), policy


def _page(document: Json) -> Iterator[str]:
    info = document["info"]
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>{escape(info['title'])} API <small>{escape(info['version'])}</small></h1>"
    yield f"<p>{_prose(info['description'])}</p>"
    yield "<p>Send your key as <code>x-api-key</code> or as <code>Authorization: Bearer</code>. "
    yield 'For programs: <a href="openapi.json">openapi.json</a>.</p><nav>'
    tags = [tag["name"] for tag in document["tags"]]
    for tag in [*tags, "Models"]:
        yield f'<a href="#{escape(tag)}">{escape(tag)}</a>'
    yield "</nav>"
    for tag in tags:
        yield f'<h2 id="{escape(tag)}">{escape(tag)}</h2>'
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag in operation["tags"]:
                    yield from _operation(method.upper(), path, operation)
    yield '<h2 id="Models">Models</h2>'
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield from _model(name, schema)
    yield "</body></html>"


def _operation(method: str, path: str, operation: Json) -> Iterator[str]:
    yield f'<section id="{escape(operation["operationId"])}">'
    yield f"<h3><b>{method}</b>{escape(path)}</h3><p><strong>{escape(operation['summary'])}."
    yield f"</strong> {_prose(operation['description'])}</p>"
    if "parameters" in operation:
        yield "<table><tr><th>Parameter</th><th>In</th><th>Type</th><th></th></tr>"
        for parameter in operation["parameters"]:
            yield f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{parameter['in']}</td>"
            yield f"<td>{_type(parameter['schema'])}</td>"
            yield f"<td>{_prose(parameter.get('description', ''))}</td></tr>"
        yield "</table>"
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]
        yield f"<p>Body: {_type(content['schema'])}</p>"
        for example in content["examples"].values():
            yield f"<details><summary>Example: {escape(example['summary'])}</summary>"
            yield f"<pre>{escape(_curl(method, path, example['value']))}</pre></details>"
    yield "<table><tr><th>Status</th><th></th><th>Answer</th></tr>"
    for status, response in operation["responses"].items():
        content = next(iter(response["content"].items()))
        answer = _type(content[1]["schema"]) if content[1] else escape(content[0])
        yield f"<tr><td>{status}</td><td>{escape(response['description'])}</td>"
        yield f"<td>{answer}</td></tr>"
    yield "</table></section>"


def _curl(method: str, path: str, body: object) -> str:
    of_reaktly = dialect_of(path) is REAKTLY
    key = "x-api-key: $REAKTLY_API_KEY" if of_reaktly else "Authorization: Bearer $REAKTLY_API_KEY"
    text = json.dumps(body, indent=2, ensure_ascii=False).replace("'", "'\\''")
    return (
        f'curl -X {method} "$REAKTLY_BASE_URL{path}" \\\n'
        f'  -H "{key}" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d '{text}'"
    )


def _model(name: str, schema: Json) -> Iterator[str]:
    yield f'<section id="model-{escape(name)}"><h3>{escape(name)}</h3>'
    yield f"<p>{_prose(schema.get('description', ''))}</p>"
    if "enum" in schema:
        yield "<p>" + " ".join(f"<code>{escape(str(v))}</code>" for v in schema["enum"]) + "</p>"
    properties = schema.get("properties", {})
    if properties:
        required = set(schema.get("required", ()))
        yield "<table><tr><th>Field</th><th>Type</th><th>Required</th><th></th></tr>"
        for field, about in properties.items():
            needed = "yes" if field in required else ""
            yield f"<tr><td><code>{escape(field)}</code></td><td>{_type(about)}</td>"
            yield f"<td>{needed}</td><td>{_prose(about.get('description', ''))}</td></tr>"
        yield "</table>"
    yield "</section>"


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[1])
        return f'<a href="#model-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"<code>{escape(json.dumps(value))}</code>" for value in values)
    kind = schema.get("type", "anything")
    if isinstance(kind, list):
        kind = " or ".join(kind)
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return escape(" ".join([kind, *_bounds(schema)]))


def _bounds(schema: Json) -> Iterator[str]:
    if "maxLength" in schema:
        yield f"({schema.get('minLength', 0)} to {schema['maxLength']:,} characters)"
    if "maximum" in schema:
        yield f"({schema.get('minimum', '')} to {schema['maximum']})"
    if "default" in schema and schema["default"] is not None:
        yield f"= {json.dumps(schema['default'])}"


def _prose(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text)).replace("\n\n", "<br>")
