"""docs/http.md, made from openapi/cycles.yaml: `python -m tests.docs.http_page` writes it."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, Final

import yaml

from tests.docs.pages import AT_SOURCE, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE: Final = ROOT / "docs" / "http.md"
DOCUMENT: Final = ROOT / "openapi" / "cycles.yaml"

INTRO: Final = f"""# The HTTP API

This page is made from [openapi/cycles.yaml]({AT_SOURCE}openapi/cycles.yaml), from which the bindings are made, too.
The embedded authority (`cycles serve`) and every server of the protocol offer this API. The key goes into the header
`X-Cycles-API-Key`.
"""


def one_line(text: str) -> str:
    """Return *text* as a table's cell shows it."""
    return " ".join(text.split()).replace("|", "\\|")


def named(reference: str) -> str:
    """Return the last part of a `$ref`."""
    return reference.rpartition("/")[2]


def linked(name: str) -> str:
    """Return a link to the section of a schema."""
    return f"[{name}](#{name.lower()})"


def kind_of(schema: dict[str, Any]) -> str:
    """Return the type that *schema* describes, in a few words."""
    if "$ref" in schema:
        return linked(named(schema["$ref"]))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"] if value is not None)
    if schema.get("type") == "array" or "items" in schema:
        return f"list of {kind_of(schema['items'])}"
    for several in ("oneOf", "anyOf", "allOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(kind_of(one) for one in schema[several]))
    kind = schema.get("type", "any")
    text = " or ".join(kind) if isinstance(kind, list) else str(kind)
    return f"{text} ({schema['format']})" if "format" in schema else text


def bounds_of(schema: dict[str, Any]) -> str:
    """Return what a value of *schema* must keep to."""
    words = {"minimum": "≥ {}", "maximum": "≤ {}", "minLength": "from {} characters", "maxLength": "to {} characters"}
    words |= {"maxItems": "at most {} items", "maxProperties": "at most {} names", "pattern": "`{}`"}
    said = [text.format(one_line(str(schema[name]))) for name, text in words.items() if name in schema]
    if "default" in schema:
        said.append(f"default `{json.dumps(schema['default'])}`")
    return ", ".join(said)


def rows(fields: dict[str, Any], required: list[str]) -> Iterator[str]:
    """Yield a table of *fields*."""
    yield from ("", "| field | type | meaning |", "|---|---|---|")
    for name, schema in fields.items():
        must = ", required" if name in required else ""
        bounds = bounds_of(schema)
        kind = f"{kind_of(schema)}{must}" + (f"; {bounds}" if bounds else "")
        yield f"| `{name}` | {kind} | {one_line(schema.get('description', ''))} |"


def example(title: str, examples: dict[str, Any]) -> Iterator[str]:
    """Yield the first of *examples* as JSON."""
    for given in list(examples.values())[:1]:
        yield from ("", f"{title}:", "", "```json", json.dumps(given["value"], indent=2, ensure_ascii=False), "```")


def operation(path: str, method: str, told: dict[str, Any], shared: dict[str, Any]) -> Iterator[str]:
    """Yield the section of one operation."""
    yield from ("", f"### {told['operationId']}", "", f"`{method.upper()} {path}`", "", one_line(told["summary"]))
    if "description" in told:
        yield from ("", one_line(told["description"]))
    parameters = [shared[named(one["$ref"])] if "$ref" in one else one for one in told.get("parameters", [])]
    if parameters:
        yield from ("", "| parameter | in | type | meaning |", "|---|---|---|---|")
    for one in parameters:
        must = ", required" if one.get("required") else ""
        meaning = one_line(one.get("description", ""))
        yield f"| `{one['name']}` | {one['in']} | {kind_of(one['schema'])}{must} | {meaning} |"
    if "requestBody" in told:
        body = told["requestBody"]["content"]["application/json"]
        yield from ("", f"Body: {kind_of(body['schema'])}")
        yield from example("Such as", body.get("examples", {}))
    for status, answer in told["responses"].items():
        content = answer.get("content", {}).get("application/json")
        if content is not None:
            yield from ("", f"Answers {status} with {kind_of(content['schema'])}: {one_line(answer['description'])}")
            yield from example("Such as", content.get("examples", {}))
    refused = [status for status, answer in told["responses"].items() if "$ref" in answer]
    if refused:
        others = ", ".join(refused).replace("default", "any other")
        yield from ("", f"Answers {others} with {linked('ErrorResponse')}.")


def schema_section(name: str, schema: dict[str, Any]) -> Iterator[str]:
    """Yield the section of one schema."""
    yield from ("", f"### {name}", "", one_line(schema.get("description", "")))
    if "properties" in schema:
        yield from rows(schema["properties"], schema.get("required", []))
        return
    bounds = bounds_of(schema)
    yield from ("", f"Type: {kind_of(schema)}" + (f"; {bounds}" if bounds else "") + ".")


def render() -> str:
    """Return the page as the document has it today."""
    document = yaml.safe_load(DOCUMENT.read_text("utf-8"))
    lines = [INTRO, document["info"]["description"].strip()]
    for tag in document["tags"]:
        lines += ["", f"## {tag['name']}", "", tag["description"]]
        for path, methods in document["paths"].items():
            for method, told in methods.items():
                if method != "parameters" and tag["name"] in told["tags"]:
                    lines += operation(path, method, told, document["components"]["parameters"])
    lines += ["", "## Schemas"]
    for name, schema in document["components"]["schemas"].items():
        lines += schema_section(name, schema)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
