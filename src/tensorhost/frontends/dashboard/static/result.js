// An answer of the server: predictions as bars where they rank classes, as JSON otherwise, and where the time went.

import { Bars } from "./bars.js";
import { copyButton, h } from "./dom.js";
import { milliseconds, number } from "./format.js";
import { indent } from "./json.js";

const MOST_ROWS = 8;
const MOST_BARS = 12;
// Of a softmax over many classes, most bars are no bars.
const FEW_BARS = 4;
const SMALL = 0.001;
const MOST_TEXT = 20_000;
const STAGES = [
  ["queueTimeMs", "queue"],
  ["preprocessingTimeMs", "preprocessing"],
  ["inferenceTimeMs", "inference"],
  ["postprocessingTimeMs", "postprocessing"],
];

/** Elements for an answer. `text` is its JSON, `classes` the model's class names or null, `tookMs` the whole exchange. */
export function showAnswer({ text, requestId, tookMs, classes }) {
  const answer = JSON.parse(text);
  const { predictions } = answer;
  const named = predictions !== null && typeof predictions === "object" && !Array.isArray(predictions);
  const outputs = named ? Object.entries(predictions) : [[null, predictions]];
  const whole = !hasLostDigits(predictions);
  return [
    h("p", { class: "answer-head" }, h("strong", null, answer.modelName), ` version ${answer.modelVersion}`),
    whole
      ? outputs.map(([name, value]) => [name && h("h4", null, name), showOutput(name ?? "predictions", value, classes)])
      : h("p", { class: "hint" }, "Some of these numbers have more digits than a browser reads; the JSON has them all."),
    times(answer, tookMs),
    requestLine(requestId),
    h("details", { open: !whole }, h("summary", null, "Answer as JSON"), code(indent(text))),
  ];
}

/** Whether a number in a parsed value may have had more digits as text. */
function hasLostDigits(value) {
  if (typeof value === "number") return Number.isInteger(value) && !Number.isSafeInteger(value);
  return value !== null && typeof value === "object" && Object.values(value).some(hasLostDigits);
}

/** Elements for an ApiError. */
export function showError(error) {
  const details = Object.keys(error.details).length > 0;
  return [
    h("p", { class: "error-head" }, h("code", null, error.code), error.status ? ` HTTP ${error.status}` : ""),
    h("p", { class: "problem" }, error.message),
    details && code(indent(JSON.stringify(error.details))),
    requestLine(error.requestId),
  ];
}

function requestLine(requestId) {
  if (!requestId) return null;
  return h(
    "p",
    { class: "request-id" },
    "Request id ",
    h("code", null, requestId),
    copyButton("Copy", `Copy request id ${requestId}`, () => requestId),
  );
}

function showOutput(name, rows, classes) {
  if (!Array.isArray(rows)) return code(JSON.stringify(rows));
  const ranked = rows.map((row) => ranking(row, classes));
  if (!rows.length || ranked.some((one) => one === null)) return simple(rows);
  const shown = ranked.slice(0, MOST_ROWS).map((entries, index) => {
    const bars = new Bars(rows.length > 1 ? `${name}, row ${index}` : name, "Nothing is left of this row.");
    bars.update(entries);
    const left = rows[index].length - entries.length;
    const rest = left > 0 && h("p", { class: "hint" }, `${left} more, all of them lower`);
    return [rows.length > 1 && h("h5", null, `Row ${index}`), bars.element, rest];
  });
  return [
    shown,
    rows.length > MOST_ROWS &&
      h("p", { class: "hint" }, `and ${rows.length - MOST_ROWS} more rows; all are in the JSON.`),
  ];
}

/** Bars of one row, or null where it does not rank anything. */
function ranking(row, classes) {
  if (!Array.isArray(row)) return null;
  const entries = row.every(isEntry)
    ? row.map(({ label, index, score }) => ({ label: label ?? String(index), score }))
    : row.every((value) => typeof value === "number") &&
        row.length > 1 &&
        (classes?.length === row.length || row.length <= MOST_BARS)
      ? row.map((score, index) => ({ label: classes?.length === row.length ? classes[index] : String(index), score }))
      : null;
  if (entries === null) return null;
  const best = [...entries].sort((one, other) => other.score - one.score);
  const most = Math.max(...entries.map(({ score }) => Math.abs(score)), Number.MIN_VALUE);
  const probabilities = entries.every(({ score }) => score >= 0 && score <= 1.000001);
  const shown = best.filter(({ score }, place) => place < (probabilities && score < SMALL ? FEW_BARS : MOST_BARS));
  return shown.map(({ label, score }, place) => ({
    label,
    share: Math.abs(score) / (probabilities ? 1 : most),
    text: probabilities ? probability(score) : number(score),
    strong: place === 0,
  }));
}

/** A probability with four decimals, which stand below each other. */
function probability(score) {
  return score > 0 && score < 0.00005 ? "< 0.0001" : score.toFixed(4);
}

function isEntry(value) {
  return value !== null && typeof value === "object" && typeof value.score === "number" && "index" in value;
}

/** Scalars and texts one by one, everything else as JSON. */
function simple(rows) {
  const plain = rows.every((row) => typeof row === "number" || typeof row === "string" || typeof row === "boolean");
  if (plain && rows.length && rows.length <= MOST_ROWS)
    return h(
      "p",
      { class: "plain-answer" },
      rows.map((row) => h("span", null, String(row))),
    );
  return code(indent(JSON.stringify(rows)));
}

function times(answer, tookMs) {
  const known = STAGES.filter(([key]) => typeof answer[key] === "number");
  const most = Math.max(...known.map(([key]) => answer[key]), Number.MIN_VALUE);
  const bars = new Bars("Time by stage", "");
  bars.update(known.map(([key, label]) => ({ label, share: answer[key] / most, text: milliseconds(answer[key]) })));
  return h(
    "div",
    { class: "times" },
    h("h4", null, "Time"),
    bars.element,
    h("p", { class: "hint" }, `${milliseconds(tookMs)} there and back, network and JSON included`),
  );
}

function code(text) {
  const shown = text.length > MOST_TEXT ? `${text.slice(0, MOST_TEXT)}\n… (${number(text.length)} characters)` : text;
  return h("pre", { tabIndex: 0 }, h("code", null, shown));
}
