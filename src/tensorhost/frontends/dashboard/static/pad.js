// A pad to draw a small grey image on. Strokes are kept in fine resolution; each pixel of the image is the share of
// its square that is covered with ink, as when a scan is made smaller.

import { announce, h } from "./dom.js";

const FINE = 8;
const BRUSH = 1.5;
const SHOWN = 256;

// Strokes of digits, in a square of 1 by 1.
const arc = (x, y, rx, ry, from, to) =>
  Array.from({ length: 17 }, (_, step) => {
    const angle = ((from + ((to - from) * step) / 16) * Math.PI) / 180;
    return [x + rx * Math.cos(angle), y + ry * Math.sin(angle)];
  });
const DRAWINGS = [
  [arc(0.47, 0.27, 0.17, 0.17, 190, 450), arc(0.47, 0.7, 0.2, 0.2, -90, 165)],
  [arc(0.5, 0.5, 0.22, 0.38, 0, 360)],
  [
    [
      [0.25, 0.13],
      [0.7, 0.13],
      [0.42, 0.9],
    ],
  ],
  [
    arc(0.5, 0.3, 0.2, 0.19, 195, 380),
    [
      [0.68, 0.38],
      [0.28, 0.87],
      [0.75, 0.87],
    ],
  ],
  [
    [
      [0.55, 0.1],
      [0.25, 0.6],
      [0.75, 0.6],
    ],
    [
      [0.6, 0.38],
      [0.58, 0.92],
    ],
  ],
];

export class Pad {
  #fine;
  #cells;
  #last = null;
  #cell = { row: 0, column: 0 };
  #drawing = 0;

  constructor({ height, width, label }) {
    this.height = height;
    this.width = width;
    const size = Math.max(2, Math.floor(SHOWN / Math.max(height, width)));
    this.size = size;
    const fine = h("canvas", { width: width * FINE, height: height * FINE });
    this.#fine = fine.getContext("2d", { willReadFrequently: true });
    this.#fine.lineCap = "round";
    this.#fine.lineJoin = "round";
    this.#fine.lineWidth = BRUSH * FINE;
    this.canvas = h("canvas", {
      class: "pad",
      width: width * size,
      height: height * size,
      tabIndex: 0,
      role: "application",
      "aria-roledescription": "drawing pad",
      "aria-label": `${label}, ${width} by ${height} pixels. Draw with a pointer, or move with the arrow keys and paint with space.`,
    });
    this.element = h(
      "div",
      { class: "pad-box" },
      this.canvas,
      h(
        "div",
        { class: "buttons" },
        h("button", { type: "button", class: "plain", onclick: () => this.clear() }, "Clear"),
        h("button", { type: "button", class: "plain", onclick: () => this.drawExample() }, "Example"),
      ),
    );
    this.#listen();
    this.drawExample();
  }

  /** Rows of the share of ink, 0 to 1, of each pixel. */
  read() {
    return this.#cells.map((row) => [...row]);
  }

  clear() {
    this.#fine.clearRect(0, 0, this.width * FINE, this.height * FINE);
    this.#render();
  }

  /** Draw the next of a few digits. */
  drawExample() {
    this.#fine.clearRect(0, 0, this.width * FINE, this.height * FINE);
    for (const stroke of DRAWINGS[this.#drawing % DRAWINGS.length])
      this.#stroke(stroke.map(([x, y]) => [x * this.width * FINE, y * this.height * FINE]));
    this.#drawing += 1;
    this.#render();
  }

  #stroke(points) {
    this.#fine.beginPath();
    this.#fine.moveTo(...points[0]);
    // A line of no length still leaves a dot.
    for (const point of points.length > 1 ? points.slice(1) : points) this.#fine.lineTo(...point);
    this.#fine.stroke();
  }

  #render() {
    const { data } = this.#fine.getImageData(0, 0, this.width * FINE, this.height * FINE);
    const context = this.canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.#cells = Array.from({ length: this.height }, (_, row) =>
      Array.from({ length: this.width }, (_, column) => {
        const share = this.#coverage(data, row, column);
        if (share > 0) {
          context.fillStyle = `rgba(16, 24, 32, ${share})`;
          context.fillRect(column * this.size, row * this.size, this.size, this.size);
        }
        return share;
      }),
    );
    this.#frame(context);
  }

  #coverage(data, row, column) {
    let sum = 0;
    for (let y = row * FINE; y < (row + 1) * FINE; y += 1) {
      for (let x = column * FINE; x < (column + 1) * FINE; x += 1) sum += data[(y * this.width * FINE + x) * 4 + 3];
    }
    return sum / (FINE * FINE * 255);
  }

  /** The cell the keyboard is at, while it is. */
  #frame(context) {
    if (!this.canvas.matches(":focus-visible")) return;
    const { row, column } = this.#cell;
    context.strokeStyle = "#0b6e99";
    context.lineWidth = 3;
    context.strokeRect(column * this.size + 1.5, row * this.size + 1.5, this.size - 3, this.size - 3);
  }

  #listen() {
    const at = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return [
        ((event.clientX - box.left) / box.width) * this.width * FINE,
        ((event.clientY - box.top) / box.height) * this.height * FINE,
      ];
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.#last = at(event);
      this.#stroke([this.#last]);
      this.#render();
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!this.#last) return;
      const points = (event.getCoalescedEvents?.() ?? []).concat(event).map(at);
      this.#stroke([this.#last, ...points]);
      this.#last = points[points.length - 1];
      this.#render();
    });
    const end = () => {
      this.#last = null;
    };
    this.canvas.addEventListener("pointerup", end);
    this.canvas.addEventListener("pointercancel", end);
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.canvas.addEventListener("focus", () => this.#render());
    this.canvas.addEventListener("blur", () => this.#render());
  }

  #key(event) {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const cell = this.#cell;
    if (event.key in moves) {
      const [down, right] = moves[event.key];
      cell.row = Math.min(this.height - 1, Math.max(0, cell.row + down));
      cell.column = Math.min(this.width - 1, Math.max(0, cell.column + right));
    } else if (event.key === " ") {
      const box = [cell.column * FINE, cell.row * FINE, FINE, FINE];
      if (this.#cells[cell.row][cell.column] > 0.5) this.#fine.clearRect(...box);
      else this.#fine.fillRect(...box);
    } else if (event.key === "Backspace" || event.key === "Delete") {
      this.clear();
    } else return;
    event.preventDefault();
    this.#render();
    const share = Math.round(this.#cells[cell.row][cell.column] * 100);
    announce(`Row ${cell.row + 1}, column ${cell.column + 1}: ${share} % ink.`);
  }
}
