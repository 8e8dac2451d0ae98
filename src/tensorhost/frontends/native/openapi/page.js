"use strict";

const LONGEST_SHOWN = 200000;

/** JSON text with line breaks inside objects. The numbers stay as the server wrote them. */
function indented(text) {
  let out = "", inString = false;
  const open = [];
  const newLine = () => "\n" + "  ".repeat(open.filter((bracket) => bracket === "{").length);
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (inString) {
      out += character;
      if (character === "\\") out += text[++at] ?? "";
      else if (character === '"') inString = false;
      continue;
    }
    if (character === '"') inString = true;
    if (character === "{" || character === "[") {
      open.push(character);
      out += character;
      if (character === "{" && text[at + 1] !== "}") out += newLine();
    } else if (character === "}" || character === "]") {
      open.pop();
      out += (character === "}" && text[at - 1] !== "{" ? newLine() : "") + character;
    } else if (character === ",") {
      out += open.at(-1) === "{" ? "," + newLine() : ", ";
    } else out += character === ":" ? ": " : character;
  }
  return out;
}

const quoted = (text) => "'" + text.replaceAll("'", "'\\''") + "'";

/** What the form asks for: address, and the options of fetch. */
function request(form) {
  const { method, path, secured } = form.dataset;
  const filled = path.replace(/{(\w+)}/g, (_, name) => encodeURIComponent(form.elements[name].value));
  const headers = {};
  const token = document.getElementById("token").value;
  if (secured !== undefined && token) headers["Authorization"] = "Bearer " + token;
  if (form.elements.accept) headers["Accept"] = form.elements.accept.value;
  const body = form.elements.body?.value;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return { url: new URL(filled.slice(1), document.baseURI), options: { method, headers, body } };
}

function showCommand(form) {
  const { url, options } = request(form);
  const parts = ["curl -s" + (options.method === "GET" ? "" : " -X " + options.method), quoted(url.href)];
  for (const [name, value] of Object.entries(options.headers)) {
    parts.push("-H " + (name === "Authorization" ? '"Authorization: Bearer $TENSORHOST_ADMIN_TOKEN"' : quoted(name + ": " + value)));
  }
  if (options.body) parts.push("-d " + quoted(options.body));
  form.querySelector(".command").textContent = parts.join(" \\\n  ");
}

async function send(form) {
  const result = form.querySelector(".result");
  const button = form.querySelector("button");
  result.hidden = false;
  result.textContent = "…";
  button.disabled = true;
  try {
    const { url, options } = request(form);
    const started = performance.now();
    const response = await fetch(url, { ...options, cache: "no-store" });
    const text = await response.text();
    const elapsed = (performance.now() - started).toFixed(1);
    const headers = [...response.headers].map(([name, value]) => name + ": " + value).join("\n");
    const isJson = (response.headers.get("content-type") ?? "").includes("json");
    const cut = text.length > LONGEST_SHOWN;
    const shown = cut ? text.slice(0, LONGEST_SHOWN) + "\n… (" + text.length + " characters)" : isJson ? indented(text) : text;
    result.textContent = response.status + " in " + elapsed + " ms\n" + headers + "\n\n" + shown;
  } catch (error) {
    result.textContent = "No answer: " + error.message;
  } finally {
    button.disabled = false;
  }
}

for (const form of document.forms) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
  form.addEventListener("input", (event) => {
    if (event.target.name === "example") form.elements.body.value = event.target.value;
    showCommand(form);
  });
  showCommand(form);
}
document.getElementById("token").addEventListener("input", () => [...document.forms].forEach(showCommand));

/** A link to a route opens it. */
function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
}
addEventListener("hashchange", openTarget);
openTarget();
