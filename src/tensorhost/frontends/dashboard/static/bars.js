// Horizontal bars with a label and a value: a list, so that it reads as text as well.

import { h, say } from "./dom.js";

/** Bars that are kept from one update to the next. Rows are {label, share (0 to 1), text, strong}. */
export class Bars {
  constructor(label, empty) {
    this.empty = h("p", { class: "empty-text" }, empty);
    this.list = h("ul", { class: "bars", "aria-label": label });
    this.element = h("div", { class: "bars-box" }, this.list, this.empty);
    this.update([]);
  }

  update(rows) {
    while (this.list.children.length > rows.length) this.list.lastElementChild.remove();
    while (this.list.children.length < rows.length) this.list.append(bar());
    rows.forEach((row, index) => fill(this.list.children[index], row));
    this.list.hidden = rows.length === 0;
    this.empty.hidden = rows.length > 0;
  }
}

function bar() {
  return h(
    "li",
    { class: "bar" },
    h("span", { class: "bar-label" }),
    h("span", { class: "bar-track" }, h("span", { class: "bar-fill" })),
    h("span", { class: "bar-value" }),
  );
}

function fill(item, { label, share, text, strong = false }) {
  const [name, track, value] = item.children;
  say(name, label);
  name.title = label;
  say(value, text);
  track.firstElementChild.style.width = `${(Math.max(0, Math.min(1, share)) * 100).toFixed(2)}%`;
  item.classList.toggle("strong", strong);
}
