// All models and versions in whatever state, and what can be done with them.

import { ask, field } from "./dialogs.js";
import { h, say } from "./dom.js";
import { token } from "./api.js";
import { rights } from "./operator.js";
import { hash } from "./route.js";
import { VersionCard } from "./version.js";

export class Models {
  title = "Models";
  #cards = new Map();

  constructor(feed, operator) {
    this.feed = feed;
    this.operator = operator;
    this.rights = h("div", { class: "rights" });
    this.problems = h("div");
    this.list = h("div", { class: "models" });
    this.empty = h("p", { class: "empty-text" }, "No models yet.");
    this.element = h(
      "section",
      { class: "view", "aria-labelledby": "models-title" },
      h("div", { class: "view-head" }, h("h2", { id: "models-title", tabIndex: -1 }, "Models"), this.rights),
      this.problems,
      this.empty,
      this.list,
    );
    feed.addEventListener("models", () => this.#draw());
    feed.addEventListener("server", () => this.#drawRights());
    operator.addEventListener("token", () => this.#drawRights());
  }

  show() {
    this.#draw();
    this.#drawRights();
  }

  #drawRights() {
    const { text } = rights(this.feed.server);
    const parts = [];
    if (text) parts.push(h("p", { class: "notice" }, text));
    if (this.feed.server?.controlNeeds === "token") {
      parts.push(
        token.get()
          ? h(
              "button",
              { type: "button", class: "plain", onclick: () => this.operator.forgetToken() },
              "Forget the admin token",
            )
          : h(
              "button",
              { type: "button", class: "plain", onclick: () => this.operator.enterToken() },
              "Enter the admin token",
            ),
      );
    }
    this.rights.replaceChildren(...parts);
    this.#permit();
  }

  #permit() {
    const { allowed, text } = rights(this.feed.server);
    for (const card of this.#cards.values()) card.permit(allowed, allowed ? null : text);
  }

  #draw() {
    const models = this.feed.models?.models ?? [];
    this.empty.hidden = models.length > 0;
    const names = new Set(models.map((model) => model.name));
    for (const [name, card] of this.#cards) {
      if (!names.has(name)) {
        card.element.remove();
        this.#cards.delete(name);
      }
    }
    models.forEach((model, index) => {
      if (!this.#cards.has(model.name)) this.#cards.set(model.name, new ModelCard(this.feed, this.operator));
      const card = this.#cards.get(model.name);
      card.update(model);
      if (this.list.children[index] !== card.element)
        this.list.insertBefore(card.element, this.list.children[index] ?? null);
    });
    this.#permit();
    this.#drawProblems(Object.entries(this.feed.models?.problems ?? {}));
  }

  #drawProblems(problems) {
    const rows = problems.map(([name, reason]) => h("li", null, h("strong", null, name), `: ${reason}`));
    this.problems.replaceChildren(
      ...(rows.length
        ? [
            h(
              "section",
              { class: "card warning" },
              h("h3", null, "In the repository, and no model"),
              h("ul", null, rows),
            ),
          ]
        : []),
    );
  }
}

class ModelCard {
  #versions = new Map();

  constructor(feed, operator) {
    this.feed = feed;
    this.operator = operator;
    this.name = h("h3");
    this.description = h("p", { class: "description" });
    this.facts = h("p", { class: "facts" });
    this.problem = h("p", { class: "problem" });
    this.tryLink = h("a", { class: "button" }, "Try it");
    this.labels = h("button", { type: "button", class: "plain", onclick: () => this.#editLabels() }, "Labels…");
    this.list = h("div", { class: "versions" });
    this.element = h(
      "article",
      { class: "card model" },
      h(
        "header",
        null,
        h("div", null, this.name, this.description, this.facts),
        h("div", { class: "buttons" }, this.tryLink, this.labels),
      ),
      this.problem,
      this.list,
    );
  }

  update(model) {
    this.model = model;
    this.element.dataset.model = model.name;
    say(this.name, model.name);
    say(this.description, model.description || "");
    const labels = Object.entries(model.allVersionLabels ?? {}).map(([label, version]) => `${label} → ${version}`);
    const loading = model.loading === "lazy" ? "loaded at the first request" : "loaded at start";
    const answers = model.version ? `version ${model.version} answers by default` : "no version";
    say(this.facts, [answers, loading, ...labels].join(" · "));
    say(this.problem, model.problem ?? "");
    this.problem.hidden = !model.problem;
    this.tryLink.href = hash("try", model.name);
    this.tryLink.setAttribute("aria-label", `Try ${model.name}`);
    this.labels.setAttribute("aria-label", `Labels of ${model.name}`);
    this.#updateVersions(model.versions);
  }

  permit(allowed, reason) {
    this.labels.disabled = !allowed || !this.model.versions.length;
    this.labels.title = reason ?? "";
    for (const card of this.#versions.values()) card.permit(allowed, reason);
  }

  #updateVersions(versions) {
    const known = new Set(versions.map(({ version }) => version));
    for (const [version, card] of this.#versions) {
      if (!known.has(version)) {
        card.element.remove();
        this.#versions.delete(version);
      }
    }
    versions.forEach((version, index) => {
      if (!this.#versions.has(version.version))
        this.#versions.set(version.version, new VersionCard(this.feed, this.operator));
      const card = this.#versions.get(version.version);
      card.update(version);
      if (this.list.children[index] !== card.element)
        this.list.insertBefore(card.element, this.list.children[index] ?? null);
    });
  }

  async #editLabels() {
    const { name, versions, allVersionLabels } = this.model;
    const known = Object.keys(allVersionLabels ?? {});
    const choices = h(
      "datalist",
      { id: "known-labels" },
      known.map((label) => h("option", { value: label })),
    );
    const label = h("input", {
      list: "known-labels",
      required: true,
      autocomplete: "off",
      pattern: "[A-Za-z0-9._\\-]+",
      title: "Letters, digits, '.', '_' and '-'",
      placeholder: known[0] ?? "stable",
    });
    const target = h(
      "select",
      null,
      versions.map(({ version, state }) =>
        h("option", { value: version }, `version ${version} (${state.toLowerCase()})`),
      ),
      h("option", { value: "" }, "what model.toml says, or nothing"),
    );
    const meet = () => {
      const current = (allVersionLabels ?? {})[label.value];
      if (current) target.value = current;
    };
    label.addEventListener("input", meet);
    meet();
    await ask({
      title: `Labels of ${name}`,
      text: "Requests may name a label in place of a version. From the moment it points elsewhere, they go there.",
      fields: [field("Label", label), choices, field("Points to", target)],
      agree: "Move label",
      read: () => [label.value, target.value || null],
      attempt: ([text, version]) => this.operator.label(name, text, version),
    });
  }
}
