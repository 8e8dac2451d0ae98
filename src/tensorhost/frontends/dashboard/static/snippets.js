// A request as commands that do the same elsewhere. Everything from the server or the user is quoted. Touches no page.

import { toPython } from "./json.js";

const LONGEST_ARGUMENT = 100_000;

/** The server's base URL, as this page reaches it. */
export function serverUrl() {
  return location.href.split(/[?#]/)[0].replace(/\/[^/]*$/, "");
}

/**
 * The body of POST /predict. A request is {model, version, signature, inputs: [[name, JSON text]], preprocessing,
 * postprocessing, timeoutMs}; what is null is left out.
 */
export function predictBody(request) {
  const fields = [["modelName", JSON.stringify(request.model)]];
  if (request.version) fields.push(["modelVersion", JSON.stringify(request.version)]);
  if (request.signature) fields.push(["signatureName", JSON.stringify(request.signature)]);
  fields.push(["inputs", inputsText(request)]);
  for (const key of ["preprocessing", "postprocessing"]) {
    if (request[key]) fields.push([key, JSON.stringify(request[key])]);
  }
  if (request.timeoutMs !== null) fields.push(["timeoutMs", String(request.timeoutMs)]);
  return `{${fields.map(([key, text]) => `"${key}": ${text}`).join(", ")}}`;
}

function inputsText({ inputs }) {
  if (inputs.length === 1) return inputs[0][1];
  return `{${inputs.map(([name, text]) => `${JSON.stringify(name)}: ${text}`).join(", ")}}`;
}

export function asCurl(request, url = serverUrl()) {
  return curl(`${url}/predict`, predictBody(request));
}

function curl(address, body) {
  const command = `curl -s ${quote(address)} -H 'Content-Type: application/json'`;
  if (body.length <= LONGEST_ARGUMENT) return `${command} -d ${quote(body)}`;
  // A command line cannot be that long. JSON has no line that is this word alone.
  return `${command} --data-binary @- <<'END_OF_BODY'\n${body}\nEND_OF_BODY`;
}

function quote(text) {
  return /^[\w./:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

export function asPython(request, url = serverUrl()) {
  const inputs = toPython(inputsText(request));
  const given = [toPython(JSON.stringify(request.model)), "inputs"];
  if (request.version) given.push(`version=${toPython(JSON.stringify(request.version))}`);
  if (request.signature) given.push(`signature=${toPython(JSON.stringify(request.signature))}`);
  for (const key of ["preprocessing", "postprocessing"]) {
    if (request[key]) given.push(`${key}=${toPython(JSON.stringify(request[key]))}`);
  }
  if (request.timeoutMs !== null) given.push(`timeout_ms=${request.timeoutMs}`);
  return [
    "from tensorhost.client import Client",
    "",
    `inputs = ${inputs}`,
    `with Client(${toPython(JSON.stringify(url))}) as client:`,
    `    answer = client.predict(${given.join(", ")})`,
    "print(answer.outputs)",
    "",
  ].join("\n");
}

/**
 * TensorFlow Serving's REST interface; it has no place for this request's own options, nor for a version that is neither
 * a label nor a number: that is left out, and the newest one answers. `labels` has the model's.
 */
export function asTensorFlowServing(request, labels, url = serverUrl()) {
  const { model, version, signature, inputs } = request;
  const number = /^v?0*(\d+)$/.exec(version ?? "")?.[1];
  const path =
    version && Object.hasOwn(labels, version)
      ? `/labels/${encodeURIComponent(version)}`
      : number
        ? `/versions/${number}`
        : "";
  const fields = signature ? [`"signature_name": ${JSON.stringify(signature)}`] : [];
  fields.push(inputs.length === 1 ? `"instances": ${inputs[0][1]}` : `"inputs": ${inputsText(request)}`);
  return curl(`${url}/v1/models/${encodeURIComponent(model)}${path}:predict`, `{${fields.join(", ")}}`);
}
