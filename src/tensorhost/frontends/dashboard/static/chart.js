// Charts over time, as SVG. A chart is given a frame (what to show) and keeps its elements from one frame to the next.

import { freshId, h, s, say } from "./dom.js";
import { clock, DASH } from "./format.js";
import { axis, timeTicks } from "./scale.js";

const HEIGHT = 176;
const MARGIN = { top: 18, right: 10, bottom: 22, left: 58 };
const PAGE = 10;

/** The moment that all charts of a page point at, or null for the newest. */
export class Cursor extends EventTarget {
  at = null;

  set(at) {
    if (this.at === at) return;
    this.at = at;
    this.dispatchEvent(new Event("move"));
  }
}

/**
 * One chart. `series` are {key, label, colour (1 to 6), dash}; `unit` is one of format.UNITS. With `log`, values have a logarithmic axis. With `stacked`, the
 * series are parts of a whole, drawn as a column for each sample. A frame is
 * {from, to, times, spans (seconds), values: {key: [number or null]}, gaps: [[begin, end]], starts: [at], empty: text or null}.
 */
export class TimeChart {
  #frame = null;
  #width = 0;
  #series = [];
  #outputs = new Map();
  #drawn = { x: null, y: null };

  constructor({ title, unit, cursor, stacked = false, log = false, controls = [], note = null }) {
    this.title = title;
    this.unit = unit;
    this.stacked = stacked;
    this.log = log;
    this.cursor = cursor;
    const id = freshId("chart");
    this.time = h("span", { class: "chart-time" });
    this.legend = h("ul", { class: "legend" });
    this.summary = h("p", { class: "visually-hidden", id: `${id}-summary` });
    this.svg = s("svg", { "aria-hidden": "true", height: HEIGHT });
    this.layers = {
      gaps: s("g", { class: "gaps" }),
      grid: s("g", { class: "grid" }),
      series: s("g", { class: "series" }),
      notes: s("g", { class: "notes" }),
      axis: s("g", { class: "axis" }),
      cursor: s("g", { class: "cursor" }),
    };
    this.svg.append(...Object.values(this.layers));
    this.plot = h("div", {
      class: "plot",
      tabIndex: 0,
      role: "slider",
      "aria-label": `${title}: moment shown`,
      "aria-describedby": `${id}-summary`,
      "aria-valuemin": "0",
      "aria-valuemax": "0",
      "aria-valuenow": "0",
      "aria-valuetext": "no data yet",
    });
    this.plot.append(this.svg);
    this.element = h(
      "figure",
      { class: "card chart", "aria-labelledby": id },
      h("figcaption", null, h("h3", { id }, title), this.time, controls),
      this.legend,
      this.plot,
      this.summary,
      note && h("p", { class: "note" }, note),
    );
    this.#listen();
  }

  /** Which lines there are; called again, it replaces them. */
  setSeries(series) {
    if (JSON.stringify(series) === JSON.stringify(this.#series)) return;
    this.#series = series;
    this.#outputs.clear();
    this.legend.replaceChildren(
      ...series.map(({ key, label, colour, dash }) => {
        const output = h("span", { class: "legend-value" }, DASH);
        this.#outputs.set(key, output);
        const swatch = s("svg", { class: `swatch c${colour}`, width: 18, height: 10, "aria-hidden": "true" });
        swatch.append(s("line", { x1: 1, x2: 17, y1: 5, y2: 5, "stroke-dasharray": dash ?? "none" }));
        return h("li", null, swatch, h("span", null, label), output);
      }),
    );
    this.layers.series.replaceChildren(
      ...series.map(({ colour, dash }) =>
        s(
          "g",
          { class: `c${colour}` },
          s("path", { class: this.stacked ? "columns" : "area" }),
          s("path", { class: "line", "stroke-dasharray": dash ?? "none" }),
        ),
      ),
    );
  }

  update(frame) {
    this.#frame = frame;
    this.draw();
  }

  draw() {
    const frame = this.#frame;
    if (!frame || this.#width === 0) return;
    const tops = this.#tops(frame);
    const values = tops.flatMap(({ upper }) => upper).filter((value) => value !== null);
    const { ticks, place } = axis(values, this.unit, this.log);
    const right = this.#width - MARGIN.right;
    const x = (at) => MARGIN.left + ((at - frame.from) / (frame.to - frame.from)) * (right - MARGIN.left);
    const bottom = HEIGHT - MARGIN.bottom;
    const y = (value) => bottom - place(value) * (bottom - MARGIN.top);
    this.#drawn = { x, y };
    this.svg.setAttribute("width", this.#width);
    this.svg.setAttribute("viewBox", `0 0 ${this.#width} ${HEIGHT}`);
    this.#drawGrid(ticks, x, y);
    this.#drawGaps(x, bottom);
    this.#drawSeries(tops, x, y);
    this.#point();
    this.#describe();
  }

  /** For each series, where its line runs, and what its area stands on. */
  #tops(frame) {
    let below = frame.times.map(() => 0);
    return this.#series.map(({ key }) => {
      const values = frame.values[key];
      if (!this.stacked) return { lower: null, upper: values };
      const lower = below;
      const upper = values.map((value, index) => (value === null ? null : value + lower[index]));
      below = upper.map((value, index) => value ?? lower[index]);
      return { lower, upper };
    });
  }

  #drawGrid(ticks, x, y) {
    const frame = this.#frame;
    const right = this.#width - MARGIN.right;
    const bottom = HEIGHT - MARGIN.bottom;
    const lines = ticks.map((value) => s("line", { x1: MARGIN.left, x2: right, y1: y(value), y2: y(value) }));
    const labels = ticks.map((value) =>
      s("text", { x: MARGIN.left - 8, y: y(value) + 4, "text-anchor": "end" }, this.unit.text(value)),
    );
    const times = timeTicks(frame.from, frame.to, Math.max(2, Math.floor(this.#width / 90)));
    for (const at of times) {
      const place = x(at);
      lines.push(s("line", { class: "tick", x1: place, x2: place, y1: bottom, y2: bottom + 4 }));
      if (place > MARGIN.left + 16 && place < right - 16) {
        labels.push(s("text", { x: place, y: HEIGHT - 5, "text-anchor": "middle" }, clock(at, false)));
      }
    }
    this.layers.grid.replaceChildren(...lines);
    this.layers.axis.replaceChildren(...labels);
  }

  #drawGaps(x, bottom) {
    const frame = this.#frame;
    const bands = [];
    const notes = [];
    for (const [begin, end] of frame.gaps) {
      const left = x(Math.max(begin, frame.from));
      const width = Math.max(0, x(Math.min(end, frame.to)) - left);
      bands.push(s("rect", { x: left, width, y: MARGIN.top, height: bottom - MARGIN.top }));
      if (width > 60) notes.push(s("text", { x: left + width / 2, y: bottom - 8, "text-anchor": "middle" }, "no data"));
    }
    for (const at of frame.starts) {
      const place = x(at);
      const anchor = place > this.#width - 90 ? "end" : "start";
      notes.push(
        s("line", { class: "start", x1: place, x2: place, y1: MARGIN.top, y2: bottom }),
        s(
          "text",
          { x: place + (anchor === "end" ? -5 : 5), y: MARGIN.top - 7, "text-anchor": anchor },
          "server started",
        ),
      );
    }
    if (frame.empty) {
      const middle = (MARGIN.left + this.#width - MARGIN.right) / 2;
      notes.push(
        s("text", { class: "empty", x: middle, y: (MARGIN.top + bottom) / 2, "text-anchor": "middle" }, frame.empty),
      );
    }
    this.layers.gaps.replaceChildren(...bands);
    this.layers.notes.replaceChildren(...notes);
  }

  #drawSeries(tops, x, y) {
    tops.forEach(({ lower, upper }, index) => {
      const [filled, line] = this.layers.series.children[index].children;
      if (this.stacked) {
        filled.setAttribute("d", this.#columns(lower, upper, x, y));
        return;
      }
      const runs = this.#runs(upper);
      const point = (place) => `${x(this.#frame.times[place]).toFixed(1)} ${y(upper[place]).toFixed(1)}`;
      line.setAttribute("d", runs.map((run) => outline(run, point)).join(""));
      if (this.#series.length > 1) return;
      const ground = (place) => `${x(this.#frame.times[place]).toFixed(1)} ${y(0)}`;
      const area = (run) => `M${[...run.map(point), ground(run[run.length - 1]), ground(run[0])].join("L")}Z`;
      filled.setAttribute("d", runs.map(area).join(""));
    });
  }

  #columns(lower, upper, x, y) {
    const { from, times, spans } = this.#frame;
    const column = (value, index) => {
      if (value === null || value === lower[index]) return "";
      const left = x(Math.max(from, times[index] - spans[index]));
      const right = Math.max(left + 1, x(times[index]) - 0.5);
      return `M${left.toFixed(1)} ${y(value).toFixed(1)}H${right.toFixed(1)}V${y(lower[index]).toFixed(1)}H${left.toFixed(1)}Z`;
    };
    return upper.map(column).join("");
  }

  /** Indices of neighbours that a line may join: no missing value and no gap between them. */
  #runs(values) {
    const { times, gaps } = this.#frame;
    const runs = [];
    let run = [];
    values.forEach((value, index) => {
      const broken = index > 0 && gaps.some(([begin, end]) => begin < times[index] && end > times[index - 1]);
      if ((value === null || broken) && run.length) {
        runs.push(run);
        run = [];
      }
      if (value !== null) run.push(index);
    });
    if (run.length) runs.push(run);
    return runs;
  }

  /** The sample the cursor is at: its index, or the newest one's. */
  #index() {
    const { times } = this.#frame;
    if (this.cursor.at === null) return times.length - 1;
    return nearest(times, this.cursor.at);
  }

  #point() {
    const frame = this.#frame;
    const index = this.#index();
    const held = this.cursor.at !== null && index >= 0;
    const bottom = HEIGHT - MARGIN.bottom;
    const marks = [];
    if (held) {
      const place = this.#drawn.x(frame.times[index]);
      marks.push(s("line", { x1: place, x2: place, y1: MARGIN.top, y2: bottom }));
      this.#tops(frame).forEach(({ upper }, number) => {
        if (upper[index] !== null) {
          const { colour } = this.#series[number];
          marks.push(s("circle", { class: `c${colour}`, cx: place, cy: this.#drawn.y(upper[index]), r: 3.5 }));
        }
      });
    }
    this.layers.cursor.replaceChildren(...marks);
    say(this.time, held ? clock(frame.times[index]) : "");
    for (const { key } of this.#series) say(this.#outputs.get(key), this.#text(key, index));
    if (held || document.activeElement !== this.plot) this.#speak(index);
  }

  #text(key, index) {
    const value = index < 0 ? null : this.#frame.values[key][index];
    return value === null ? DASH : (this.unit.mean ?? this.unit.text)(value);
  }

  #speak(index) {
    const frame = this.#frame;
    this.plot.setAttribute("aria-valuemax", String(Math.max(0, frame.times.length - 1)));
    this.plot.setAttribute("aria-valuenow", String(Math.max(0, index)));
    const values = this.#series.map(({ key, label }) => `${label} ${this.#text(key, index)}`).join(", ");
    this.plot.setAttribute("aria-valuetext", index < 0 ? "no data yet" : `${clock(frame.times[index])}: ${values}`);
  }

  #describe() {
    const frame = this.#frame;
    const parts = this.#series.map(({ key, label }) => {
      const known = frame.values[key].filter((value) => value !== null);
      if (!known.length) return `${label}: no values`;
      const [low, high] = [Math.min(...known), Math.max(...known)].map(this.unit.text);
      return `${label}: from ${low} to ${high}`;
    });
    const missing = frame.gaps.length ? " There is no data for parts of it." : "";
    say(this.summary, `From ${clock(frame.from)} to ${clock(frame.to)}. ${parts.join("; ")}.${missing}`);
  }

  #listen() {
    new ResizeObserver(([entry]) => {
      const width = Math.floor(entry.contentRect.width);
      if (width === this.#width) return;
      this.#width = width;
      requestAnimationFrame(() => this.draw());
    }).observe(this.plot);
    this.cursor.addEventListener("move", () => {
      if (this.#frame && this.#width) this.#point();
    });
    const move = (event) => this.#follow(event.clientX);
    this.plot.addEventListener("pointermove", move);
    this.plot.addEventListener("pointerdown", move);
    this.plot.addEventListener("pointerleave", () => this.cursor.set(null));
    this.plot.addEventListener("blur", () => this.cursor.set(null));
    this.plot.addEventListener("keydown", (event) => this.#key(event));
  }

  #follow(clientX) {
    if (!this.#frame?.times.length) return;
    const { left } = this.plot.getBoundingClientRect();
    const share = (clientX - left - MARGIN.left) / (this.#width - MARGIN.left - MARGIN.right);
    const { from, to, times } = this.#frame;
    this.cursor.set(times[nearest(times, from + share * (to - from))]);
  }

  #key(event) {
    if (!this.#frame?.times.length) return;
    const { times } = this.#frame;
    const last = times.length - 1;
    const steps = {
      ArrowLeft: -1,
      ArrowDown: -1,
      ArrowRight: 1,
      ArrowUp: 1,
      PageDown: -PAGE,
      PageUp: PAGE,
      Home: -last,
      End: last,
    };
    if (event.key === "Escape") this.cursor.set(null);
    else if (event.key in steps) {
      const index = Math.min(last, Math.max(0, this.#index() + steps[event.key]));
      this.cursor.set(times[index]);
    } else return;
    event.preventDefault();
  }
}

/** A line through points; a lone point becomes a dot, which a round cap makes visible. */
function outline(run, text) {
  const points = run.map(text);
  return points.length === 1 ? `M${points[0]}h0.01` : `M${points.join("L")}`;
}

/** Index of the time nearest to `at`; -1 where there is none. */
function nearest(times, at) {
  let best = times.length - 1;
  for (let index = 0; index < times.length; index += 1) {
    if (Math.abs(times[index] - at) < Math.abs(times[best] - at)) best = index;
  }
  return best;
}
