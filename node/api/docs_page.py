"""The page at /docs: renders the OpenAPI document with plain HTML and a little JavaScript, nothing from elsewhere.

Everything from the document and from replies is put in as text, never as markup.
"""

from typing import Final

DOCS_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>p2pnode API</title>
<style>
:root { color-scheme: light dark; --line: #8885; --soft: #8882; --accent: #0b7285; }
@media (prefers-color-scheme: dark) { :root { --accent: #66d9e8; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { border-bottom: 1px solid var(--line); margin-top: 2.5rem; }
code, pre, input { font-family: ui-monospace, monospace; font-size: .9em; }
pre { background: var(--soft); padding: .7rem; overflow: auto; max-height: 24rem; white-space: pre-wrap; }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .5rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; } summary b { color: var(--accent); display: inline-block; min-width: 3.2rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { border-top: 1px solid var(--line); padding: .25rem .5rem; text-align: left; vertical-align: top; }
form { margin: .7rem 0; } label { display: block; } input { width: 24rem; max-width: 100%; }
button { margin-top: .4rem; } a { color: var(--accent); } .text { white-space: pre-line; }
</style>
</head>
<body>
<h1>p2pnode API</h1>
<p id="about" class="text">Loading the document ...</p>
<p>The same for programs: <a href="/v1/openapi.json">/v1/openapi.json</a></p>
<div id="operations"></div>
<h2>Schemas</h2><div id="schemas"></div>
<h2>Problems</h2><table id="problems"><tr><th>reason</th><th>status</th><th>meaning</th></tr></table>
<script>
"use strict";
const at = (id) => document.getElementById(id);
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
function typeOf(schema) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return make("a", { href: "#schema-" + name }, name);
  }
  const choices = schema.anyOf || schema.oneOf;
  if (choices) return make("span", {}, ...choices.flatMap((one, i) => (i ? [" or ", typeOf(one)] : [typeOf(one)])));
  if (schema.type === "array") return make("span", {}, "list of ", typeOf(schema.items || {}));
  const bounds = ["const", "enum", "minimum", "maximum", "maxItems", "pattern", "default"]
    .filter((name) => schema[name] !== undefined).map((name) => name + " " + JSON.stringify(schema[name]));
  return make("span", {}, [schema.type || "any", ...bounds].join(", "));
}
function row(...cells) {
  return make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
}
function tableOf(...titles) {
  return make("table", {}, make("tr", {}, ...titles.map((title) => make("th", {}, title))));
}
function fields(schema) {
  const table = tableOf("field", "type", "");
  for (const [name, field] of Object.entries(schema.properties || {}))
    table.append(row(make("code", {}, name), typeOf(field), field.description || ""));
  return table;
}
function tryIt(path, operation) {
  const form = make("form");
  const output = make("pre", { hidden: "" });
  for (const parameter of operation.parameters || []) {
    const input = make("input", { name: parameter.name, "data-in": parameter.in });
    if (parameter.required) input.required = true;
    form.append(make("label", {}, make("code", {}, parameter.name), " ", input));
  }
  form.append(make("button", {}, "Try it"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const query = new URLSearchParams();
    let address = path;
    for (const input of form.querySelectorAll("input")) {
      if (input.dataset.in === "path") address = address.replace(`{${input.name}}`, encodeURIComponent(input.value));
      else if (input.value !== "") query.set(input.name, input.value);
    }
    if ([...query].length) address += "?" + query;
    output.hidden = false;
    try {
      const reply = await fetch(address);
      let text = await reply.text();
      try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it is */ }
      output.textContent = `GET ${address}\\n${reply.status} ${reply.statusText}\\n\\n${text}`;
    } catch (error) { output.textContent = String(error); }
  });
  return [form, output];
}
function describe(path, method, operation) {
  const box = make("details", { id: operation.operationId });
  const text = operation.description ? [make("p", { class: "text" }, operation.description)] : [];
  const title = [make("b", {}, method.toUpperCase()), make("code", {}, path), " ", operation.summary];
  box.append(make("summary", {}, ...title), ...text);
  if (operation.parameters) {
    const table = tableOf("parameter", "type", "");
    for (const one of operation.parameters)
      table.append(row(make("code", {}, `${one.name} (${one.in})`), typeOf(one.schema), one.description));
    box.append(table);
  }
  const media = (content) =>
    Object.entries(content || {}).flatMap(([type, { schema }]) => [type + ": ", typeOf(schema), " "]);
  if (operation.requestBody) box.append(make("p", {}, "Body ", ...media(operation.requestBody.content)));
  const replies = tableOf("status", "reply", "");
  for (const [status, reply] of Object.entries(operation.responses))
    replies.append(row(status, make("span", {}, ...media(reply.content)), reply.description));
  box.append(replies);
  if (method === "get" && !operation.responses["101"]) box.append(...tryIt(path, operation));
  return box;
}
function render(description) {
  at("about").textContent = description.info.description + "\\n\\nVersion " + description.info.version;
  for (const tag of description.tags) {
    at("operations").append(make("h2", {}, tag.name));
    for (const [path, methods] of Object.entries(description.paths))
      for (const [method, operation] of Object.entries(methods))
        if (operation.tags.includes(tag.name)) at("operations").append(describe(path, method, operation));
  }
  for (const [name, schema] of Object.entries(description.components.schemas))
    at("schemas").append(make("details", { id: "schema-" + name },
      make("summary", {}, make("code", {}, name), " ", schema.description || ""), fields(schema)));
  for (const [reason, { status, title }] of Object.entries(description["x-problems"])) {
    const entry = row(make("code", {}, reason), String(status), title);
    entry.id = "problem-" + reason;
    at("problems").append(entry);
  }
  const target = location.hash && at(decodeURIComponent(location.hash.slice(1)));
  if (target) { if (target.tagName === "DETAILS") target.open = true; target.scrollIntoView(); }
}
addEventListener("hashchange", () => {
  const target = at(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") target.open = true;
});
fetch("/v1/openapi.json").then((reply) => reply.json()).then(render)
  .catch((error) => { at("about").textContent = "The document did not load: " + error; });
</script>
</body>
</html>
"""
"""One self-contained HTML page."""
