// What the overview shows for a model, a version and a range of time: totals by moment, and all of them together.

import { gaps, join, total } from "./samples.js";

export const RANGES = {
  "5m": { label: "5 min", seconds: 300, resolution: "fine" },
  "15m": { label: "15 min", seconds: 900, resolution: "coarse" },
  "1h": { label: "1 hour", seconds: 3600, resolution: "coarse" },
};
const RECENT_S = 10;
const LEAST_GROWING = 5;

/**
 * Totals of the samples in a range. Totals are remembered by sample, so a new sample costs one addition; forget them
 * by making a new window, for another filter.
 */
export class Window {
  #totals = new WeakMap();

  constructor(feed, { model, version, range }) {
    this.feed = feed;
    this.range = RANGES[range];
    this.filtered = Boolean(model);
    this.wanted = (one) => (!model || one.model === model) && (!version || one.version === version);
  }

  /** {from, to, samples, points, all, recent, gaps, starts}; null before the server has described itself. */
  read() {
    const { feed, range } = this;
    if (!feed.server) return null;
    const to = feed.status === "live" && feed.rings.fine.last ? feed.rings.fine.last.at : feed.now;
    const from = to - range.seconds;
    const points = this.#points(from);
    const recent = this.#sums(feed.rings.fine.samples.filter((sample) => sample.at > to - RECENT_S - 0.5));
    return {
      from,
      to,
      points,
      all: points.length ? join(points) : null,
      recent: recent.length ? join(recent) : null,
      gaps: gaps(points, from, to),
      starts: feed.starts.filter((at) => at > from && at < to),
    };
  }

  #points(from) {
    const { fine, coarse } = this.feed.rings;
    if (this.range.resolution === "fine") return this.#sums(fine.samples.filter((sample) => sample.at > from));
    const points = this.#sums(coarse.samples.filter((sample) => sample.at > from));
    // What has happened since the last coarse sample is shown as one point that still grows.
    const since = points.length ? points[points.length - 1].at : from;
    const growing = this.#sums(fine.samples.filter((sample) => sample.at - sample.seconds / 2 > since));
    // A rate over two seconds among rates over twenty would look like an event.
    return growing.length >= LEAST_GROWING ? [...points, join(growing)] : points;
  }

  #sums(samples) {
    return samples.map((sample) => {
      if (!this.#totals.has(sample)) this.#totals.set(sample, total(sample, this.wanted, this.feed.server));
      return this.#totals.get(sample);
    });
  }
}
