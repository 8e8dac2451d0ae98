// Ask a model: a form made from its signature, the answer beside it, the request as commands to copy.

import { ApiError, post } from "./api.js";
import { field } from "./dialogs.js";
import { announce, copyText, fillSelect, h, say } from "./dom.js";
import { InputEditor } from "./editors.js";
import { check } from "./json.js";
import { showAnswer, showError } from "./result.js";
import { hash, setParameters } from "./route.js";
import { asCurl, asPython, asTensorFlowServing, predictBody } from "./snippets.js";
import { inputsOf } from "./specs.js";

export class Try {
  title = "Try it";
  #choice = { model: "", version: "", signature: "" };
  #editors = [];
  #built = "";
  #met = null;
  #sent = 0;

  constructor(feed) {
    this.feed = feed;
    this.#makeForm();
    this.#makeResult();
    this.element = h(
      "section",
      { class: "view", "aria-labelledby": "try-title" },
      h("div", { class: "view-head" }, h("h2", { id: "try-title", tabIndex: -1 }, "Try it")),
      h("div", { class: "try" }, this.form, this.side),
    );
    feed.addEventListener("models", () => this.#draw());
    feed.addEventListener("server", () => this.#drawCopies());
    this.#listenForImages();
  }

  show(parameters, subject) {
    this.#choice = {
      model: subject,
      version: parameters.get("version") ?? "",
      signature: parameters.get("signature") ?? "",
    };
    this.#draw();
  }

  #makeForm() {
    this.model = h("select", { onchange: () => (location.hash = hash("try", this.model.value)) });
    this.version = h("select", { onchange: () => setParameters({ version: this.version.value }) });
    this.signature = h("select", {
      onchange: () => setParameters({ version: this.#choice.version, signature: this.signature.value }),
    });
    this.signatureField = field("Signature", this.signature);
    this.notice = h("p", { class: "notice", hidden: true });
    this.inputs = h("div", { hidden: true });
    const option = (placeholder) =>
      h("input", {
        type: "text",
        class: "code",
        placeholder,
        autocomplete: "off",
        spellcheck: false,
        autocapitalize: "off",
      });
    this.preprocessing = option('{"scale": 255}');
    this.postprocessing = option('{"topK": 5, "softmax": true}');
    this.timeout = h("input", { type: "text", inputMode: "numeric", placeholder: "none", autocomplete: "off" });
    this.defaults = h("p", { class: "hint" });
    this.problem = h("p", { class: "problem", role: "alert" });
    this.button = h("button", { type: "submit", class: "primary" }, "Predict");
    this.form = h(
      "form",
      { class: "card", noValidate: true, "aria-label": "Request" },
      h("div", { class: "field-row" }, field("Model", this.model), field("Version", this.version), this.signatureField),
      this.notice,
      this.inputs,
      h(
        "details",
        { class: "options" },
        h("summary", null, "Options"),
        field("Postprocessing", this.postprocessing),
        field("Preprocessing", this.preprocessing),
        field("Timeout in ms", this.timeout),
        this.defaults,
      ),
      this.problem,
      h("div", { class: "buttons" }, this.button, h("span", { class: "hint" }, "or Ctrl+Enter")),
    );
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        this.#send();
      }
    });
  }

  #makeResult() {
    this.result = h("div", { class: "result" });
    this.copies = h("div", { class: "buttons" });
    this.snippet = h("pre", { hidden: true, tabIndex: 0, "aria-label": "Request to copy" });
    this.copyNote = h("p", { class: "hint" });
    this.side = h(
      "div",
      { class: "side" },
      h(
        "section",
        { class: "card", "aria-label": "Answer", "aria-live": "polite" },
        h("h3", null, "Answer"),
        this.result,
      ),
      h("section", { class: "card" }, h("h3", null, "Copy the request as"), this.copies, this.copyNote, this.snippet),
    );
  }

  #draw() {
    if (this.element.hidden) return;
    const models = this.feed.models?.models ?? [];
    fillSelect(
      this.model,
      models.map(({ name }) => [name, name]),
    );
    const wanted = this.#choice.model || models.find((model) => model.version)?.name || "";
    if (wanted && !models.some(({ name }) => name === wanted)) {
      this.#refuse(this.feed.models ? `There is no model '${wanted}'.` : "Waiting for the server…", wanted);
      return;
    }
    if (!wanted) {
      this.#refuse(this.feed.models ? "There is no model to try." : "Waiting for the server…", "");
      return;
    }
    this.model.value = wanted;
    this.#drawModel(models.find(({ name }) => name === wanted));
  }

  #drawModel(model) {
    const labels = Object.entries(model.allVersionLabels ?? {});
    const first = model.version ? `default (${model.version})` : "default (none serves)";
    fillSelect(this.version, [
      ["", first],
      ...labels.map(([label, version]) => [label, `${label} → ${version}`]),
      ...model.versions.map(({ version, state }) => [
        version,
        state === "AVAILABLE" ? version : `${version} (${state.toLowerCase()})`,
      ]),
    ]);
    const chosen = this.#choice.version;
    this.version.value = [...this.version.options].some(({ value }) => value === chosen) ? chosen : "";
    const number = (model.allVersionLabels ?? {})[chosen] ?? (chosen || model.version);
    const version = model.versions.find((one) => one.version === number);
    if (version?.signatures) {
      this.#drawSignature(version);
      return;
    }
    const waiting = version ?? model.versions[0];
    if (model.loading === "lazy" && waiting && !waiting.error) this.#drawUnknown(waiting);
    else
      this.#refuse(
        waiting
          ? `Version ${waiting.version} is ${waiting.state.toLowerCase()}: it answers nothing.`
          : "No version of this model answers.",
        model.name,
      );
  }

  #drawSignature(version) {
    const names = Object.keys(version.signatures);
    const fallback =
      names.find((name) => JSON.stringify(version.signatures[name].inputs) === JSON.stringify(version.inputs)) ??
      names[0];
    const name = names.includes(this.#choice.signature) ? this.#choice.signature : fallback;
    fillSelect(
      this.signature,
      names.map((one) => [one, one]),
    );
    this.signature.value = name;
    this.signatureField.hidden = names.length < 2;
    this.notice.hidden = true;
    this.#drawForm(version, inputsOf(version.signatures[name], version.preprocessing));
  }

  /** A model that is loaded by its first request has no signature before that. */
  #drawUnknown(version) {
    say(
      this.notice,
      "Not loaded yet: the first request loads it. What it takes is known after that; until then, as JSON.",
    );
    this.notice.hidden = false;
    this.signatureField.hidden = true;
    this.#drawForm(version, [{ name: "inputs", dtype: "of unknown type", shape: null }]);
  }

  #drawForm(version, specs) {
    this.target = version;
    this.#meet(version.name);
    // The form keeps what was entered for as long as the model takes the same.
    const key = JSON.stringify([version.name, specs, version.preprocessing]);
    if (key !== this.#built) {
      this.#built = key;
      this.#editors = specs.map((spec) => new InputEditor(spec, version.preprocessing));
      this.inputs.replaceChildren(...this.#editors.map(({ element }) => element));
    }
    this.inputs.hidden = false;
    this.button.disabled = false;
    const own = ["postprocessing", "preprocessing"].filter((kind) => Object.keys(version[kind] ?? {}).length);
    const defaults = own.map((kind) => `${kind} ${JSON.stringify(version[kind])}`).join(", ");
    say(this.defaults, defaults && `The model's own: ${defaults}`);
    this.#drawCopies();
  }

  /** Say why nothing can be sent. What was entered is kept: a version may be back in a moment. */
  #refuse(text, name) {
    this.#meet(name);
    say(this.notice, text);
    this.notice.hidden = false;
    this.button.disabled = true;
    this.inputs.hidden = true;
  }

  /** What one model answered must not stand beside another's form. */
  #meet(name) {
    if (name === this.#met) return;
    this.#met = name;
    this.#sent += 1;
    this.button.removeAttribute("aria-busy");
    this.result.classList.remove("waiting");
    this.result.replaceChildren(h("p", { class: "empty-text" }, "The answer will be here."));
    this.snippet.hidden = true;
    say(this.copyNote, "");
    say(this.problem, "");
  }

  #drawCopies() {
    const ways = [
      ["curl", asCurl],
      ["Python", asPython],
    ];
    if (this.feed.server?.protocols.includes("tfserving")) {
      ways.push(["TensorFlow Serving REST", (request) => asTensorFlowServing(request, this.#labels())]);
    }
    if (this.copies.children.length === ways.length) return;
    this.copies.replaceChildren(
      ...ways.map(([name, write]) =>
        h("button", { type: "button", class: "plain", onclick: () => this.#copy(name, write) }, name),
      ),
    );
  }

  #labels() {
    return this.feed.models.models.find(({ name }) => name === this.target.name)?.allVersionLabels ?? {};
  }

  /** The request the form describes; an Error says what is wrong with it. */
  async #request() {
    say(this.problem, "");
    if (this.inputs.hidden) throw new Error("There is nothing to send.");
    const inputs = [];
    for (const editor of this.#editors) inputs.push([editor.spec.name, await editor.read()]);
    const needed = this.#editors.map(({ needs }) => needs).filter(Boolean);
    const preprocessing = { ...Object.assign({}, ...needed), ...this.#options(this.preprocessing, "preprocessing") };
    const postprocessing = this.#options(this.postprocessing, "postprocessing");
    return {
      model: this.target.name,
      version: this.version.value || null,
      signature: this.signatureField.hidden ? null : this.signature.value,
      inputs,
      preprocessing: Object.keys(preprocessing).length ? preprocessing : null,
      postprocessing: Object.keys(postprocessing).length ? postprocessing : null,
      timeoutMs: this.#timeoutMs(),
    };
  }

  #options(input, name) {
    input.removeAttribute("aria-invalid");
    if (!input.value.trim()) return {};
    try {
      const options = check(input.value, `'${name}'`);
      if (options === null || typeof options !== "object" || Array.isArray(options))
        throw new Error(`'${name}' must be an object, such as ${input.placeholder}.`);
      return options;
    } catch (error) {
      this.#blame(input, error);
    }
  }

  #timeoutMs() {
    this.timeout.removeAttribute("aria-invalid");
    const text = this.timeout.value.trim();
    if (!text) return null;
    const value = Number(text);
    if (!(value > 0)) this.#blame(this.timeout, new Error("The timeout must be a number of milliseconds above 0."));
    return value;
  }

  #blame(input, error) {
    input.setAttribute("aria-invalid", "true");
    input.closest("details").open = true;
    say(this.problem, error.message);
    input.focus();
    throw error;
  }

  async #send() {
    if (this.button.disabled) return;
    let request;
    try {
      request = await this.#request();
    } catch {
      // Said where it is wrong.
      return;
    }
    this.#sent += 1;
    const mine = this.#sent;
    this.button.setAttribute("aria-busy", "true");
    this.result.classList.add("waiting");
    const classes = this.target.labels;
    const started = performance.now();
    let parts;
    try {
      const { text, requestId } = await post("predict", predictBody(request));
      parts = showAnswer({ text, requestId, tookMs: performance.now() - started, classes });
    } catch (error) {
      // A proxy may answer 200 with a page of its own.
      const known = error instanceof ApiError ? error : new ApiError({ code: "INVALID_ANSWER", message: error.message });
      parts = showError(known);
    }
    // Of several requests under way, the last one's answer is shown.
    if (mine !== this.#sent) return;
    this.button.removeAttribute("aria-busy");
    this.result.classList.remove("waiting");
    this.result.replaceChildren(...parts.flat(Infinity).filter(Boolean));
  }

  async #copy(name, write) {
    let text;
    try {
      text = write(await this.#request());
    } catch {
      return;
    }
    const copied = await copyText(text);
    this.snippet.textContent = text.length > 4000 ? `${text.slice(0, 4000)}\n… (${text.length} characters)` : text;
    this.snippet.hidden = false;
    say(this.copyNote, copied ? `Copied as ${name}.` : "The browser does not allow copying; select the text below.");
    announce(this.copyNote.textContent);
  }

  #listenForImages() {
    const take = (items, event) => {
      const file = [...items].find((item) => item.type.startsWith("image/"));
      if (!file || this.element.hidden) return;
      event.preventDefault();
      const target = this.#editors.find(({ element }) => element.contains(event.target));
      for (const editor of target ? [target] : this.#editors) if (editor.takeImage(file)) return;
    };
    this.element.addEventListener("dragover", (event) => {
      if (event.dataTransfer.types.includes("Files")) event.preventDefault();
    });
    this.element.addEventListener("drop", (event) => take(event.dataTransfer.files, event));
    document.addEventListener("paste", (event) => take(event.clipboardData.files, event));
  }
}
