// The overview: what the server does, now and in the last hour.

import { Bars } from "./bars.js";
import { Cursor, TimeChart } from "./chart.js";
import { fillSelect, h, say, segments } from "./dom.js";
import { bytes, integer, number, percent, seconds, UNITS } from "./format.js";
import { setParameters } from "./route.js";
import { mean, quantile } from "./samples.js";
import { Tiles } from "./tiles.js";
import { RANGES, Window } from "./window.js";

const QUANTILES = { p50: 0.5, p95: 0.95, p99: 0.99 };
const MEASURES = [["mean", "Mean"], ...Object.keys(QUANTILES).map((key) => [key, key])];
const AXES = [
  ["linear", "Linear"],
  ["log", "Log"],
];
const MOST_CODES = 5;
const NAMES = { _unknown: "(no such model)", _other: "(further models)" };

export class Overview {
  title = "Overview";
  #choice = { model: "", version: "", range: "5m" };
  #window = null;
  #measure = "mean";
  #scheduled = false;

  constructor(feed) {
    this.feed = feed;
    this.cursor = new Cursor();
    this.tiles = new Tiles();
    this.#makeToolbar();
    this.#makeCharts();
    this.element = h(
      "section",
      { class: "view", "aria-labelledby": "overview-title" },
      h("div", { class: "view-head" }, h("h2", { id: "overview-title", tabIndex: -1 }, "Overview"), this.toolbar),
      this.tiles.element,
      h("div", { class: "charts" }, this.panels),
    );
    for (const event of ["samples", "status", "server"]) feed.addEventListener(event, () => this.#schedule());
    feed.addEventListener("models", () => this.#fillModels());
    // Where nothing comes in, time still passes, and the charts say so.
    setInterval(() => feed.status === "lost" && this.#schedule(), 1000);
    document.addEventListener("visibilitychange", () => this.#schedule());
  }

  show(parameters) {
    const range = parameters.get("range");
    this.#choice = {
      model: parameters.get("model") ?? "",
      version: parameters.get("version") ?? "",
      range: range in RANGES ? range : "5m",
    };
    this.ranges.querySelector(`[value="${this.#choice.range}"]`).checked = true;
    this.#window = new Window(this.feed, this.#choice);
    this.#fillModels();
    this.#schedule();
  }

  #makeToolbar() {
    this.model = h("select", {
      id: "overview-model",
      onchange: () => this.#choose({ model: this.model.value, version: "" }),
    });
    this.version = h("select", {
      id: "overview-version",
      onchange: () => this.#choose({ version: this.version.value }),
    });
    const choices = Object.entries(RANGES).map(([value, { label }]) => [value, label]);
    this.ranges = segments("range", "Range of time", choices, "5m", (range) => this.#choose({ range }));
    this.toolbar = h(
      "div",
      { class: "toolbar" },
      h("span", { class: "pair" }, h("label", { for: "overview-model" }, "Model"), this.model),
      h("span", { class: "pair" }, h("label", { for: "overview-version" }, "Version"), this.version),
      this.ranges,
    );
  }

  #choose(change) {
    setParameters({ ...this.#choice, ...change });
  }

  #fillModels() {
    const models = this.feed.models?.models ?? [];
    const names = models.map((model) => model.name);
    const seen = new Set(
      this.feed.rings.coarse.samples
        .concat(this.feed.rings.fine.samples)
        .flatMap((one) => one.versions.map(({ model }) => model)),
    );
    const others = [...seen, this.#choice.model].filter((name) => name && !names.includes(name));
    const all = [...names, ...new Set(others)];
    fillSelect(this.model, [["", "All models"], ...all.map((name) => [name, NAMES[name] ?? name])]);
    this.model.value = this.#choice.model;
    const chosen = models.find((model) => model.name === this.#choice.model);
    const versions = chosen ? chosen.versions.map(({ version }) => version) : [];
    if (this.#choice.version && !versions.includes(this.#choice.version)) versions.push(this.#choice.version);
    fillSelect(this.version, [["", "All versions"], ...versions.map((version) => [version, version])]);
    this.version.value = this.#choice.version;
    this.version.disabled = !this.#choice.model;
    this.#fillMemory(models);
  }

  #fillMemory(models) {
    const loaded = models
      .flatMap((model) => model.versions)
      .filter((version) => version.memoryBytes !== undefined && version.memoryBytes !== null)
      .sort((one, other) => other.memoryBytes - one.memoryBytes);
    const most = Math.max(1, ...loaded.map((version) => version.memoryBytes));
    const rows = loaded.map(({ name, version, memoryBytes }) => ({
      label: `${name} ${version}`,
      share: memoryBytes / most,
      text: bytes(memoryBytes),
      strong: name === this.#choice.model,
    }));
    this.memoryBars.update(rows);
  }

  #makeCharts() {
    const { cursor } = this;
    const chart = (title, unit, more = {}) => new TimeChart({ title, unit, cursor, ...more });
    this.rate = chart("Request rate", UNITS.rate);
    this.rate.setSeries([{ key: "rate", label: "requests", colour: 1 }]);
    const scale = segments("scale", "Axis", AXES, "log", (value) => {
      this.latency.log = this.stages.log = value === "log";
      this.#schedule();
    });
    this.latency = chart("Latency", UNITS.seconds, { log: true, controls: [scale] });
    this.latency.setSeries([
      { key: "p50", label: "p50", colour: 1 },
      { key: "p95", label: "p95", colour: 2, dash: "6 3" },
      { key: "p99", label: "p99", colour: 3, dash: "2 3" },
    ]);
    const measure = segments("measure", "Measure", MEASURES, "mean", (value) => {
      this.#measure = value;
      this.#schedule();
    });
    this.stages = chart("Latency by stage", UNITS.seconds, { log: true, controls: [measure] });
    this.errors = chart("Errors by code", UNITS.rate, { stacked: true });
    this.load = chart("In flight and queued", UNITS.count);
    this.load.setSeries([
      { key: "inFlight", label: "requests in flight", colour: 1 },
      { key: "queueRows", label: "queued rows", colour: 2, dash: "6 3" },
    ]);
    this.memory = chart("Memory of the process", UNITS.bytes);
    this.memory.setSeries([
      { key: "rssBytes", label: "resident", colour: 1 },
      { key: "heapUsedBytes", label: "heap used", colour: 2, dash: "6 3" },
      { key: "weightsBytes", label: "weights", colour: 3, dash: "2 3" },
    ]);
    this.batches = new Bars("Batch sizes", "No model calls in this range.");
    this.batchNote = h("p", { class: "card-figure" });
    this.memoryBars = new Bars("Memory by version", "No version is loaded.");
    this.stageRows = h("tbody");
    this.panels = [
      this.rate.element,
      this.latency.element,
      this.stages.element,
      this.#stageTable(),
      this.errors.element,
      this.load.element,
      panel("Batch sizes", this.batchNote, this.batches.element),
      this.memory.element,
      panel("Memory by version", this.memoryBars.element),
    ];
  }

  #stageTable() {
    const head = ["Stage", "Mean", "p50", "p95", "p99"].map((text) => h("th", { scope: "col" }, text));
    const table = h("table", { class: "figures" }, h("thead", null, h("tr", null, head)), this.stageRows);
    this.stageNote = h("p", { class: "card-figure" });
    return panel("Where the time goes", this.stageNote, h("div", { class: "table-box" }, table));
  }

  #schedule() {
    if (this.#scheduled || document.hidden || this.element.hidden || !this.#window) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#draw();
    });
  }

  #draw() {
    const view = this.#window.read();
    if (!view) return;
    const { server } = this.feed;
    this.tiles.update(view, this.feed, RANGES[this.#choice.range].label);
    const frame = (values, empty = null) => ({
      from: view.from,
      to: view.to,
      times: view.points.map(({ at }) => at),
      spans: view.points.map((point) => point.seconds),
      values,
      gaps: view.gaps,
      starts: view.starts,
      empty,
    });
    const each = (read) => view.points.map(read);
    const idle = view.all && view.all.latency.total.count === 0 ? "no successful requests in this range" : null;
    this.rate.update(frame({ rate: each((point) => point.requests / point.seconds) }));
    const at = (stage, fraction) =>
      each((point) => quantile(point.latency[stage].counts, server.secondsBounds, fraction));
    const quantiles = Object.entries(QUANTILES).map(([key, fraction]) => [key, at("total", fraction)]);
    this.latency.update(frame(Object.fromEntries(quantiles), idle));
    this.stages.setSeries(
      server.stages.map((stage, index) => ({
        key: stage,
        label: stage,
        colour: (index % 6) + 1,
        dash: [null, "6 3", "2 3", "8 3 2 3"][index % 4],
      })),
    );
    const measured = (stage) =>
      this.#measure === "mean" ? each((point) => mean(point.latency[stage])) : at(stage, QUANTILES[this.#measure]);
    this.stages.update(frame(Object.fromEntries(server.stages.map((stage) => [stage, measured(stage)])), idle));
    this.#drawErrors(view, frame, each);
    this.load.update(frame({ inFlight: each((point) => point.inFlight), queueRows: each((point) => point.queueRows) }));
    const memory = ["rssBytes", "heapUsedBytes", "weightsBytes"];
    this.memory.update(
      frame(Object.fromEntries(memory.map((key) => [key, each((point) => point.server[key] ?? null)]))),
    );
    this.#drawStages(view, server);
    this.#drawBatches(view, server);
  }

  #drawErrors(view, frame, each) {
    const counts = Object.entries(view.all?.errors ?? {}).sort((one, other) => other[1] - one[1]);
    const codes = counts.slice(0, MOST_CODES).map(([code]) => code);
    const rest = counts.length > MOST_CODES ? ["other"] : [];
    this.errors.setSeries(
      [...codes.sort(), ...rest].map((code, index) => ({
        key: code,
        label: code === "other" ? "other codes" : code,
        colour: index + 1,
      })),
    );
    const values = Object.fromEntries(
      codes.map((code) => [code, each((point) => (point.errors[code] ?? 0) / point.seconds)]),
    );
    if (rest.length) {
      const named = (point) => codes.reduce((sum, code) => sum + (point.errors[code] ?? 0), 0);
      values.other = each((point) => (point.failures - named(point)) / point.seconds);
    }
    this.errors.update(frame(values, counts.length ? null : "no errors in this range"));
  }

  #drawStages(view, server) {
    const rows = ["total", ...server.stages].map((stage) => {
      const histogram = view.all?.latency[stage];
      const figures = Object.values(QUANTILES).map((fraction) =>
        histogram ? quantile(histogram.counts, server.secondsBounds, fraction) : null,
      );
      return [stage, ...[histogram ? mean(histogram) : null, ...figures].map(seconds)];
    });
    while (this.stageRows.children.length < rows.length) {
      this.stageRows.append(
        h(
          "tr",
          null,
          h("th", { scope: "row" }),
          [1, 2, 3, 4].map(() => h("td")),
        ),
      );
    }
    rows.forEach((row, index) => row.forEach((text, cell) => say(this.stageRows.children[index].children[cell], text)));
    const requests = view.all?.latency.total.count ?? 0;
    say(this.stageNote, `${integer(requests)} successful requests in ${RANGES[this.#choice.range].label}`);
  }

  #drawBatches(view, server) {
    const histogram = view.all?.batchRows;
    const bounds = server.rowsBounds;
    const filled = histogram ? histogram.counts.flatMap((count, index) => (count ? [index] : [])) : [];
    const most = Math.max(1, ...(histogram?.counts ?? []));
    const shown = filled.length
      ? bounds
          .concat(Infinity)
          .map((_, index) => index)
          .slice(filled[0], filled[filled.length - 1] + 1)
      : [];
    this.batches.update(
      shown.map((index) => ({
        label: rowsLabel(bounds, index),
        share: histogram.counts[index] / most,
        text: `${integer(histogram.counts[index])} (${percent(histogram.counts[index] / histogram.count)})`,
      })),
    );
    const average = histogram ? mean(histogram) : null;
    say(
      this.batchNote,
      average === null ? "\u00a0" : `${integer(histogram.count)} model calls, ${number(average)} rows on average`,
    );
  }
}

function rowsLabel(bounds, index) {
  if (index >= bounds.length) return `over ${integer(bounds[bounds.length - 1])}`;
  const lowest = index === 0 ? 1 : bounds[index - 1] + 1;
  return lowest >= bounds[index] ? integer(bounds[index]) : `${integer(lowest)}–${integer(bounds[index])}`;
}

function panel(title, ...content) {
  return h("section", { class: "card" }, h("h3", null, title), content);
}
