"""The page at /docs, written on the server from the OpenAPI document."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import quote, urlencode

Document = Mapping[str, Any]

# Shown in place of an id in addresses to copy.
SAMPLE_IDS = {"bundles": "bdl_us_1", "videos": "vid_1001", "messages": "msg_0c5be6f6a2b14b5a8a3a3f0d1f8f3b1e"}


def render(document: Document, base_url: str) -> str:
    """The whole page. `base_url` is how the reader reached the service, for the lines to copy."""
    sections: dict[str, list[tuple[str, str, Document]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            sections[operation["tags"][0]].append((method.upper(), path, operation))
    descriptions = {tag["name"]: tag["description"] for tag in document["tags"]}
    shown = {name: operations for name, operations in sections.items() if operations}
    title = escape(document["info"]["title"])
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/docs.css">
</head>
<body>
<a class="skip" href="#content">Skip to the operations</a>
<nav aria-label="Operations">
<p class="name">{title} <span class="version">{escape(document["info"]["version"])}</span></p>
{"".join(_contents(name, operations) for name, operations in shown.items())}
<p class="source"><a href="/openapi.json">OpenAPI document</a></p>
</nav>
<main id="content">
<header>
<h1>{title} API</h1>
{_paragraphs(document["info"]["description"])}
</header>
{"".join(_section(name, descriptions[name], shown[name], document, base_url) for name in shown)}
<section id="schemas">
<h2>Schemas</h2>
{"".join(_schema(name, schema) for name, schema in document["components"]["schemas"].items())}
</section>
</main>
</body>
</html>
"""


def _contents(name: str, operations: list[tuple[str, str, Document]]) -> str:
    links = "".join(
        f'<li><a href="#{operation["operationId"]}">{_badge(method)} {escape(operation["summary"])}</a></li>'
        for method, _, operation in operations
    )
    return f"<h2>{escape(name)}</h2><ul>{links}</ul>\n"


def _section(
    name: str, description: str, operations: list[tuple[str, str, Document]], document: Document, base_url: str
) -> str:
    articles = "".join(_article(method, path, operation, document, base_url) for method, path, operation in operations)
    return f"<section><h2>{escape(name)}</h2><p>{escape(description)}</p>\n{articles}</section>\n"


def _article(method: str, path: str, operation: Document, document: Document, base_url: str) -> str:
    role = operation.get("x-role")
    who = f"{escape(role)} or more" if role else "open to everybody"
    address = escape(path).replace("/", "/<wbr>").replace("{", "<var>{").replace("}", "}</var>")
    return f"""<article id="{escape(operation["operationId"])}">
<h3>{escape(operation["summary"])} <a class="anchor" href="#{operation["operationId"]}" aria-label="Link">#</a></h3>
<p class="address">{_badge(method)} <code>{address}</code> <span class="role">{who}</span></p>
{_paragraphs(operation["description"])}
{_parameters(operation)}{_body(operation)}
<h4>Try it</h4>
<pre class="line"><code>{escape(curl(method, path, operation, base_url))}</code></pre>
{_answers(operation, document)}
</article>
"""


def _parameters(operation: Document) -> str:
    rows = "".join(
        f"<tr><th scope=row><code>{escape(parameter['name'])}</code></th><td>{escape(parameter['in'])}</td>"
        f"<td>{_kind(parameter['schema'])}</td><td>{_inline(parameter['description'])}</td></tr>"
        for parameter in operation.get("parameters", ())
    )
    if not rows:
        return ""
    head = "<tr><th scope=col>Name</th><th scope=col>In</th><th scope=col>Type</th><th scope=col>Meaning</th></tr>"
    return f"<h4>Parameters</h4>{_table(head, rows)}"


def _body(operation: Document) -> str:
    body = operation.get("requestBody")
    if body is None:
        return ""
    content = body["content"]["application/json"]
    return f"<h4>Body, optional</h4>{_fields(content['schema'])}{_json(content['example'])}"


def _answers(operation: Document, document: Document) -> str:
    parts = []
    problems = []
    for status, answer in operation["responses"].items():
        if "$ref" in answer:
            name = answer["$ref"].rpartition("/")[2]
            description = document["components"]["responses"][name]["description"]
            problems.append(f"<li>{_status(status)} {_inline(description)}</li>")
            continue
        for media_type, content in answer.get("content", {}).items():
            example = content.get("example")
            shape = _shape(content["schema"])
            parts.append(
                f"<p>{_status(status)} {_inline(answer['description'])} "
                f'<span class="media">{escape(media_type)}</span>{shape}</p>'
                + (f"<details><summary>Example</summary>{_json(example)}</details>" if example is not None else "")
            )
    listed = f'<details><summary>Problems</summary><ul class="problems">{"".join(problems)}</ul></details>'
    return f"<h4>Answers</h4>{''.join(parts)}{listed if problems else ''}"


def _shape(schema: Document) -> str:
    if "$ref" in schema:
        return f" {_reference(schema)}"
    items = schema.get("properties", {}).get("items", {}).get("items", {})
    return f" items of {_reference(items)}" if "$ref" in items else ""


def _reference(schema: Document) -> str:
    name = escape(schema["$ref"].rpartition("/")[2])
    return f'<a href="#schema-{name}">{name}</a>'


def _schema(name: str, schema: Document) -> str:
    return (
        f'<article id="schema-{escape(name)}"><h3>{escape(name)}</h3>'
        f"{_paragraphs(schema.get('description', ''))}{_fields(schema)}</article>\n"
    )


def _fields(schema: Document) -> str:
    required = schema.get("required", ())
    rows = "".join(
        f"<tr><th scope=row><code>{escape(name)}</code>{'' if name in required else ' <small>optional</small>'}</th>"
        f"<td>{_kind(field)}</td><td>{_inline(field.get('description', ''))}</td></tr>"
        for name, field in schema.get("properties", {}).items()
    )
    head = "<tr><th scope=col>Field</th><th scope=col>Type</th><th scope=col>Meaning</th></tr>"
    return _table(head, rows)


def _table(head: str, rows: str) -> str:
    return f'<div class="wide" tabindex="0"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'


def _kind(schema: Document) -> str:
    """The type in few words."""
    if "$ref" in schema:
        return _reference(schema)
    if "anyOf" in schema:
        return " or ".join(_kind(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(f"<code>{escape('null' if value is None else str(value))}</code>" for value in schema["enum"])
    kinds = schema.get("type", "any")
    text = " or ".join([kinds] if isinstance(kinds, str) else kinds)
    if text == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if text == "object" and schema.get("properties"):
        return "{" + ", ".join(f"<code>{escape(name)}</code>" for name in schema["properties"]) + "}"
    if schema.get("format") == "date-time":
        text = text.replace("string", "time")
    if "maximum" in schema:
        text += f", {schema.get('minimum', 0)} to {schema['maximum']}"
    if "default" in schema:
        text += f", default {schema['default']}"
    return escape(text)


def curl(method: str, path: str, operation: Document, base_url: str) -> str:
    """A line for a shell that calls the operation with the examples of its parameters."""
    address = path
    query = []
    words = ["curl"]
    if "text/event-stream" in operation["responses"]["200"].get("content", {}):
        words.append("-N")
    if method != "GET":
        words += ["-X", method]
    if operation.get("security") != []:
        words += ["-H", "Authorization: Bearer TOKEN"]
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            kind = path.split("/")[2]
            address = address.replace("{" + parameter["name"] + "}", quote(SAMPLE_IDS.get(kind, "ID"), safe=""))
        elif "example" in parameter:
            example = parameter["example"]
            if isinstance(example, bool):
                example = str(example).lower()
            elif isinstance(example, list):
                example = ",".join(example)
            if parameter["in"] == "query":
                query.append((parameter["name"], example))
            else:
                words += ["-H", f"{parameter['name']}: {example}"]
    if "requestBody" in operation:
        body = operation["requestBody"]["content"]["application/json"]["example"]
        words += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    words.append(base_url + address + (f"?{urlencode(query, safe=',')}" if query else ""))
    return " ".join(shlex.quote(word) for word in words)


def _badge(method: str) -> str:
    return f'<span class="method {method.lower()}">{escape(method)}</span>'


def _status(status: str) -> str:
    return f'<b class="status s{escape(status[0])}">{escape(status)}</b>'


def _json(value: Any) -> str:
    return f"<pre><code>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</code></pre>"


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_inline(part)}</p>" for part in text.split("\n\n") if part)


def _inline(text: str) -> str:
    """`code` between backticks."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
