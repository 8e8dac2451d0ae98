// The row of figures at the top of the overview.

import { h, say } from "./dom.js";
import { bytes, duration, integer, percent, rate, seconds } from "./format.js";
import { quantile } from "./samples.js";

const TILES = [
  ["rate", "Requests"],
  ["p50", "p50 latency"],
  ["p95", "p95 latency"],
  ["p99", "p99 latency"],
  ["errors", "Errors"],
  ["inFlight", "In flight"],
  ["queue", "Queued rows"],
  ["memory", "Memory"],
  ["uptime", "Uptime"],
];

export class Tiles {
  #parts = new Map();

  constructor() {
    this.element = h(
      "dl",
      { class: "tiles" },
      TILES.map(([key, label]) => {
        const value = h("dd", { class: "tile-value" }, "–");
        const note = h("dd", { class: "tile-note" }, "\u00a0");
        this.#parts.set(key, { value, note });
        return h("div", { class: "tile", "data-tile": key }, h("dt", null, label), value, note);
      }),
    );
  }

  /** `view` is what Window.read gives, `feed` the feed, `span` the range in words. */
  update(view, feed, span) {
    const { all, recent } = view;
    const latency = (fraction) =>
      all ? quantile(all.latency.total.counts, feed.server.secondsBounds, fraction) : null;
    this.#set("rate", rate(recent ? recent.requests / recent.seconds : null), "last 10 s");
    for (const [key, fraction] of [
      ["p50", 0.5],
      ["p95", 0.95],
      ["p99", 0.99],
    ]) {
      this.#set(key, seconds(latency(fraction)), `over ${span}`);
    }
    const share = all && all.requests ? all.failures / all.requests : null;
    this.#set("errors", percent(share), all ? `${integer(all.failures)} of ${integer(all.requests)}` : "\u00a0");
    this.#parts.get("errors").value.classList.toggle("bad", Boolean(all?.failures));
    const last = view.points[view.points.length - 1];
    this.#set("inFlight", integer(last?.inFlight), "now");
    this.#set("queue", integer(last?.queueRows), "now");
    const server = feed.rings.fine.last?.server;
    this.#set("memory", bytes(server?.rssBytes), server ? `weights ${bytes(server.weightsBytes)}` : "\u00a0");
    this.#set("uptime", duration(server?.uptimeSeconds), this.#workers(feed, server));
  }

  #workers(feed, server) {
    const { count, restarts } = feed.server.workers;
    if (count <= 1) return `tensorhost ${feed.server.version}`;
    const restarted = restarts ? `, ${integer(restarts)} restarted` : "";
    return `${server?.workersReady ?? "–"} of ${count} workers${restarted}`;
  }

  #set(key, value, note) {
    const parts = this.#parts.get(key);
    say(parts.value, value);
    say(parts.note, note);
  }
}
