// One version of a model: its state and figures in one line, everything else folded below.

import { ask } from "./dialogs.js";
import { h, say } from "./dom.js";
import { ago, bytes, integer, milliseconds, moment, number, shape } from "./format.js";

const BUSY = new Set(["LOADING", "WARMING", "DRAINING", "UNLOADING"]);

export class VersionCard {
  #drawn = "";
  #busy = null;
  #allowed = false;

  constructor(feed, operator) {
    this.feed = feed;
    this.operator = operator;
    this.title = h("h4");
    this.state = h("span", { class: "state" });
    this.labels = h("span", { class: "chips" });
    this.figures = h("dl", { class: "version-figures" });
    this.used = h("dd");
    this.problem = h("p", { class: "problem" });
    this.outcome = h("p", { class: "problem", role: "alert" });
    this.details = h("div", { class: "details-body" });
    this.fold = h("details", null, h("summary", null, "Signatures, runtime, findings"), this.details);
    this.button = h("button", { type: "button", class: "plain", onclick: () => this.#act() });
    this.element = h(
      "section",
      { class: "version" },
      h("header", null, this.title, this.state, this.labels, this.button),
      this.problem,
      this.outcome,
      this.figures,
      this.fold,
    );
  }

  update(version) {
    this.version = version;
    const { lastUsedAt, ...rest } = version;
    say(this.used, ago(lastUsedAt, this.feed.now));
    const key = JSON.stringify(rest);
    if (key === this.#drawn) return;
    this.#drawn = key;
    this.element.dataset.version = version.version;
    this.element.dataset.state = version.state;
    say(this.title, `Version ${version.version}`);
    say(this.state, version.state);
    this.labels.replaceChildren(...version.versionLabels.map((label) => h("span", { class: "chip" }, label)));
    say(this.problem, errorText(version.error));
    this.problem.hidden = !version.error;
    this.#drawFigures(version);
    this.fold.hidden = !version.signatures;
    this.details.replaceChildren(...(version.signatures ? details(version) : []));
    this.#drawButton();
  }

  permit(allowed, reason) {
    this.#allowed = allowed;
    this.button.title = reason ?? "";
    this.#drawButton();
  }

  #drawFigures(version) {
    const figures = [
      ["Format", version.format],
      ["Runtime", version.runtime],
      ["Memory", version.memoryBytes === undefined ? null : bytes(version.memoryBytes)],
      ["Weights", version.weightsBytes === undefined ? null : bytes(version.weightsBytes)],
      ["Load", version.loadTimeMs === undefined ? null : milliseconds(version.loadTimeMs)],
      ["Warm-up", version.warmupTimeMs === undefined ? null : milliseconds(version.warmupTimeMs)],
      ["Loaded", version.loadedAt ? moment(version.loadedAt) : null],
    ].filter(([, text]) => text);
    this.figures.replaceChildren(
      ...figures.map(([label, text]) => h("div", null, h("dt", null, label), h("dd", null, text))),
      h("div", null, h("dt", null, "Last used"), this.used),
    );
  }

  #drawButton() {
    const { name, version, state } = this.version;
    const unload = state === "AVAILABLE" || state === "DRAINING";
    const text = this.#busy ?? (BUSY.has(state) ? `${state.toLowerCase()}…` : unload ? "Unload" : "Load");
    say(this.button, text);
    this.button.setAttribute("aria-label", `${text} ${name} version ${version}`);
    // aria-disabled rather than disabled while a call runs: the button keeps the focus.
    this.button.setAttribute("aria-disabled", String(this.#busy !== null || BUSY.has(state)));
    this.button.disabled = !this.#allowed;
  }

  async #act() {
    const { name, version, state } = this.version;
    if (this.#busy || BUSY.has(state)) return;
    const unload = state === "AVAILABLE";
    if (unload && !(await this.#confirm(name, version))) return;
    this.#busy = unload ? "Unloading…" : "Loading…";
    say(this.outcome, "");
    this.#drawButton();
    try {
      await (unload ? this.operator.unload(name, version) : this.operator.load(name, version));
    } catch (error) {
      say(this.outcome, `${error.code}: ${error.message}${error.requestId ? ` (request ${error.requestId})` : ""}`);
    } finally {
      this.#busy = null;
      this.#drawButton();
    }
  }

  #confirm(name, version) {
    return ask({
      title: `Unload ${name} version ${version}?`,
      text: "Requests in flight are finished. Later ones for this version are refused until it is loaded again.",
      agree: "Unload",
      danger: true,
    });
  }
}

function errorText(error) {
  if (!error) return "";
  const attempts = error.attempts ? ` After ${error.attempts} ${error.attempts === 1 ? "attempt" : "attempts"}.` : "";
  return `${error.code ?? "Problem"}: ${error.message}${attempts}`;
}

function details(version) {
  const parts = Object.entries(version.signatures).map(([name, signature]) => signatureDetails(name, signature));
  const refused = Object.entries(version.refusedSignatures ?? {});
  if (refused.length) parts.push(section("Signatures no request can call", pairs(refused)));
  if (version.findings?.length) {
    parts.push(
      section(
        "What it could do besides computing",
        h(
          "ul",
          null,
          version.findings.map(({ kind, subject, count, explanation }) =>
            h("li", null, h("strong", null, `${kind} ${subject}`), ` × ${integer(count)}: ${explanation}`),
          ),
        ),
      ),
    );
  }
  if (version.disabledOptimizations?.length) {
    parts.push(
      section("Optimizations left out", pairs(version.disabledOptimizations.map(({ name, reason }) => [name, reason]))),
    );
  }
  const facts = [
    ["Parameters", version.parameters === null ? "unknown" : integer(version.parameters)],
    ["Largest memory while loading", bytes(version.peakMemoryBytes)],
    ["Warm-up", version.warmupComplete ? "complete" : "not complete"],
  ];
  if (version.probeTimeMs) facts.push(["Trial in a child process", milliseconds(version.probeTimeMs)]);
  if (version.labels) facts.push(["Classes", summary(version.labels)]);
  parts.push(section("Figures", pairs(facts)));
  return parts;
}

function signatureDetails(name, signature) {
  const { batching } = signature;
  const facts = [
    ["Inputs", specs(signature.inputs)],
    ["Outputs", specs(signature.outputs)],
    ["Called as", signature.callPath],
    [
      "Batching",
      batching.batched
        ? `up to ${integer(batching.maxBatchSize)} rows`
        : `off: ${batching.reason ?? "no reason given"}`,
    ],
  ];
  if (batching.filledUpTo?.length) facts.push(["Filled up to", batching.filledUpTo.join(", ")]);
  if (batching.latencyGoal)
    facts.push([
      "Latency goal",
      `${number(batching.latencyGoal.targetMs)} ms${batching.latencyGoal.reachable ? "" : ", out of reach"}`,
    ]);
  const times = Object.entries(signature.callTimeMs ?? {});
  if (times.length)
    facts.push(["Call time by rows", times.map(([rows, ms]) => `${rows}: ${milliseconds(ms)}`).join(" · ")]);
  if (signature.warmupProblem) facts.push(["Warm-up problem", signature.warmupProblem]);
  return section(`Signature ${name}`, pairs(facts), signature.race && race(signature.race));
}

/** Who serves which batch sizes, and why each of the others does not. */
function race(verdict) {
  const served = verdict.served.map(({ upToRows, runtime }) =>
    upToRows === null ? runtime : `${runtime} up to ${integer(upToRows)} rows`,
  );
  const rows = verdict.candidates.map(({ runtime, precision, serves, speedup, reason }) => {
    const gains = Object.entries(speedup ?? {}).map(([size, factor]) => `${size}: ${number(factor)}×`);
    return h(
      "tr",
      null,
      h("th", { scope: "row" }, `${runtime} ${precision}`),
      h("td", null, serves ? "serves" : "lost"),
      h("td", null, gains.join(" · ") || "–"),
      h("td", { class: "wrap" }, reason ?? ""),
    );
  });
  const head = ["Runtime", "Verdict", `Speed by rows, against ${verdict.reference}`, "Why not"];
  return [
    h(
      "p",
      null,
      `Race: served by ${served.join(", then ")}.${verdict.notRaced ? ` Not raced: ${verdict.notRaced}` : ""}`,
    ),
    rows.length > 0 &&
      h(
        "div",
        { class: "table-box", tabIndex: 0, role: "region", "aria-label": "Race" },
        h(
          "table",
          { class: "figures" },
          h(
            "thead",
            null,
            h(
              "tr",
              null,
              head.map((text) => h("th", { scope: "col" }, text)),
            ),
          ),
          h("tbody", null, rows),
        ),
      ),
  ];
}

function specs(list) {
  return list.map(({ name, dtype, shape: dimensions }) => `${name}: ${dtype} ${shape(dimensions)}`).join(", ");
}

function summary(labels) {
  const first = labels.slice(0, 12).join(", ");
  return labels.length > 12 ? `${first} … (${integer(labels.length)})` : first;
}

function section(title, ...content) {
  return h("section", null, h("h5", null, title), content);
}

function pairs(entries) {
  return h(
    "dl",
    { class: "pairs" },
    entries.map(([term, text]) => h("div", null, h("dt", null, term), h("dd", null, text))),
  );
}
