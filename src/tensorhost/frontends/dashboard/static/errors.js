// The latest failed requests.

import { copyButton, fillSelect, h, say } from "./dom.js";
import { moment } from "./format.js";

export class Errors {
  title = "Errors";
  #drawn = "";

  constructor(feed) {
    this.feed = feed;
    this.code = h("select", { id: "errors-code", onchange: () => this.#draw() });
    this.model = h("select", { id: "errors-model", onchange: () => this.#draw() });
    this.count = h("p", { class: "card-figure", role: "status" });
    this.body = h("tbody");
    const head = ["Time", "Code", "Message", "Model", "Request", "Request id"];
    this.table = h(
      "table",
      { class: "records" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          head.map((text) => h("th", { scope: "col" }, text)),
        ),
      ),
      this.body,
    );
    this.element = h(
      "section",
      { class: "view", "aria-labelledby": "errors-title" },
      h(
        "div",
        { class: "view-head" },
        h("h2", { id: "errors-title", tabIndex: -1 }, "Recent errors"),
        h(
          "div",
          { class: "toolbar" },
          h("span", { class: "pair" }, h("label", { for: "errors-code" }, "Code"), this.code),
          h("span", { class: "pair" }, h("label", { for: "errors-model" }, "Model"), this.model),
        ),
      ),
      this.count,
      h("div", { class: "card" }, this.table),
    );
    feed.addEventListener("errors", () => this.#draw());
  }

  show() {
    this.#draw();
  }

  #draw() {
    if (this.element.hidden) return;
    const errors = this.feed.errors?.errors ?? [];
    const distinct = (values) => [...new Set(values.filter(Boolean))].sort();
    fillSelect(this.code, [["", "All codes"], ...distinct(errors.map(({ code }) => code)).map((code) => [code, code])]);
    fillSelect(this.model, [
      ["", "All models"],
      ...distinct(errors.map(({ model }) => model)).map((model) => [model, model]),
    ]);
    const shown = errors.filter(
      ({ code, model }) =>
        (!this.code.value || code === this.code.value) && (!this.model.value || model === this.model.value),
    );
    say(
      this.count,
      errors.length
        ? `${shown.length} of the ${errors.length} latest, the newest first`
        : "No request has failed since the server started.",
    );
    this.table.hidden = shown.length === 0;
    this.table.parentElement.hidden = shown.length === 0;
    const key = JSON.stringify(shown);
    if (key === this.#drawn) return;
    this.#drawn = key;
    const focused = document.activeElement?.dataset?.copies;
    this.body.replaceChildren(...shown.map(row));
    if (focused)
      [...this.body.querySelectorAll("[data-copies]")].find((button) => button.dataset.copies === focused)?.focus();
  }
}

function row({ at, requestId, method, path, status, code, message, model, version }) {
  const copy = copyButton("Copy", `Copy request id ${requestId}`, () => requestId);
  copy.dataset.copies = requestId;
  const cell = (label, ...content) => h("td", { "data-label": label }, content);
  return h(
    "tr",
    null,
    cell("Time", h("time", { dateTime: at }, moment(at))),
    cell("Code", h("span", null, h("code", null, code), h("span", { class: "status-code" }, ` ${status}`))),
    cell("Message", message),
    cell("Model", model ? `${model}${version ? ` ${version}` : ""}` : "–"),
    cell("Request", h("code", null, `${method} ${path}`)),
    cell("Request id", h("span", { class: "id" }, h("code", null, requestId), copy)),
  );
}
