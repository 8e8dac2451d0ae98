// Ways to enter one input. Each editor has an `element`, and a `read` that gives the rows as JSON text or throws an
// Error that says what is missing.

import { announce, freshId, h, say, segments } from "./dom.js";
import { shape as shapeText } from "./format.js";
import { check, indent } from "./json.js";
import { Pad } from "./pad.js";
import { example, imageOf, imageScale, inkOf, isInteger, modesOf } from "./specs.js";

const MODE_NAMES = { text: "Text", draw: "Draw", image: "Image", fields: "Numbers", json: "JSON" };

/** One input of the form: its name and type, and a choice of editors. */
export class InputEditor {
  #editors = new Map();

  constructor(spec, preprocessing) {
    this.spec = spec;
    this.preprocessing = preprocessing;
    const modes = modesOf(spec);
    this.place = h("div", { class: "editor" });
    this.problem = h("p", { class: "problem", role: "alert" });
    const choices = modes.map((mode) => [mode, MODE_NAMES[mode]]);
    this.element = h(
      "fieldset",
      { class: "input", "data-input": spec.name },
      h(
        "legend",
        null,
        h("code", null, spec.name),
        h("span", { class: "type" }, ` ${spec.dtype} ${shapeText(spec.shape)}`),
      ),
      modes.length > 1 &&
        segments(freshId("mode"), `How to enter ${spec.name}`, choices, modes[0], (mode) => this.#use(mode)),
      this.place,
      this.problem,
    );
    this.modes = modes;
    this.#use(modes[0]);
  }

  /** The rows as JSON text. */
  async read() {
    say(this.problem, "");
    try {
      return await this.editor.read();
    } catch (error) {
      say(this.problem, error.message);
      this.editor.focus?.();
      throw error;
    }
  }

  /** Preprocessing that this way of entering needs, or null. */
  get needs() {
    return this.editor.needs ?? null;
  }

  /** Take a dropped or pasted image, where the input takes images. */
  takeImage(file) {
    if (!this.modes.includes("image")) return false;
    this.element.querySelector('input[value="image"]').checked = true;
    this.#use("image");
    this.editor.take(file);
    return true;
  }

  #use(mode) {
    if (!this.#editors.has(mode)) this.#editors.set(mode, make(mode, this.spec, this.preprocessing));
    this.editor = this.#editors.get(mode);
    this.mode = mode;
    this.place.replaceChildren(this.editor.element);
    say(this.problem, "");
  }
}

function make(mode, spec, preprocessing) {
  const kinds = { text: TextEditor, draw: DrawEditor, image: ImageEditor, fields: FieldsEditor, json: JsonEditor };
  return new kinds[mode](spec, preprocessing);
}

class TextEditor {
  constructor({ name, shape }) {
    this.nested = shape.length === 2;
    this.area = h("textarea", { rows: 3, "aria-label": name, value: "Where is the train station?", spellcheck: false });
    this.element = h("div", null, this.area);
  }

  read() {
    const rows = shapeRows([this.area.value], this.nested);
    return JSON.stringify(rows);
  }
}

function shapeRows(rows, nested) {
  return nested ? rows.map((row) => [row]) : rows;
}

class JsonEditor {
  constructor(spec) {
    this.name = spec.name;
    this.area = h("textarea", {
      class: "code",
      rows: 8,
      "aria-label": `${spec.name} as JSON`,
      value: indent(JSON.stringify(example(spec)), 60),
      spellcheck: false,
      autocapitalize: "off",
    });
    this.element = h("div", null, this.area);
  }

  read() {
    this.area.removeAttribute("aria-invalid");
    try {
      check(this.area.value, `'${this.name}'`);
    } catch (error) {
      this.area.setAttribute("aria-invalid", "true");
      throw error;
    }
    return this.area.value.trim();
  }

  focus() {
    this.area.focus();
  }
}

class FieldsEditor {
  constructor({ name, dtype, shape }) {
    this.single = shape.length === 1;
    const count = this.single ? 1 : shape[1];
    const value = isInteger(dtype) ? "1" : "0.5";
    this.fields = Array.from({ length: count }, (_, index) =>
      h("input", {
        type: "text",
        inputMode: "decimal",
        value,
        autocomplete: "off",
        "aria-label": this.single ? name : `${name}, number ${index + 1} of ${count}`,
        onpaste: (event) => this.#paste(event, index),
      }),
    );
    const labelled = this.fields.map((field, index) =>
      h("label", { class: "number" }, h("span", { "aria-hidden": "true" }, String(index)), field),
    );
    this.element = h(
      "div",
      null,
      h("div", { class: "numbers" }, labelled),
      count > 1 && h("p", { class: "hint" }, "Several numbers can be pasted at once."),
    );
  }

  read() {
    for (const field of this.fields) field.removeAttribute("aria-invalid");
    const texts = this.fields.map((field) => {
      const text = field.value.trim();
      if (!/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text)) {
        field.setAttribute("aria-invalid", "true");
        this.wrong = field;
        throw new Error(text ? `'${text}' is not a number.` : "A number is missing.");
      }
      return text;
    });
    return this.single ? `[${texts[0]}]` : `[[${texts.join(", ")}]]`;
  }

  focus() {
    this.wrong?.focus();
  }

  /** A row pasted from a table or a list fills the fields from here on. */
  #paste(event, index) {
    const numbers = event.clipboardData
      .getData("text")
      .split(/[\s,;[\]]+/)
      .filter(Boolean);
    if (numbers.length < 2) return;
    event.preventDefault();
    numbers.slice(0, this.fields.length - index).forEach((number, offset) => {
      this.fields[index + offset].value = number;
    });
    announce(`${Math.min(numbers.length, this.fields.length - index)} numbers pasted.`);
  }
}

class DrawEditor {
  constructor(spec, preprocessing) {
    const { height, width } = imageOf(spec);
    const { paper, ink } = inkOf(spec.dtype, preprocessing);
    this.spec = spec;
    this.pad = new Pad({ height, width, label: `Drawing pad for ${spec.name}` });
    this.paper = h("input", { type: "number", step: "any", value: paper, "aria-label": "Value of paper" });
    this.ink = h("input", { type: "number", step: "any", value: ink, "aria-label": "Value of ink" });
    this.element = h(
      "div",
      null,
      this.pad.element,
      h("p", { class: "hint range" }, "Values from ", this.paper, " (paper) to ", this.ink, " (ink)"),
    );
  }

  read() {
    const [paper, ink] = [Number(this.paper.value), Number(this.ink.value)];
    // Pixels that count in steps are given as such: 0 to 16 or 255 are whole numbers, 0 to 1 is not.
    const digits = Math.abs(ink - paper) >= 8 || isInteger(this.spec.dtype) ? 0 : 4;
    const value = (share) => Number((paper + share * (ink - paper)).toFixed(digits));
    const channel = this.spec.shape.length === 4;
    return JSON.stringify([
      this.pad.read().map((row) => row.map((share) => (channel ? [value(share)] : value(share)))),
    ]);
  }

  focus() {
    this.ink.focus();
  }
}

class ImageEditor {
  file = null;
  #url = null;
  #encoded = null;

  constructor(spec, preprocessing) {
    const { height, width } = imageOf(spec);
    this.needs = imageScale(preprocessing);
    this.input = h("input", {
      type: "file",
      accept: "image/*",
      class: "visually-hidden",
      onchange: () => this.take(this.input.files[0]),
    });
    this.preview = h("img", { alt: "", hidden: true });
    this.words = h("span", null, "Choose an image, drop it here, or paste it");
    this.drop = h("label", { class: "drop" }, this.input, this.preview, this.words);
    this.invert = h("input", { type: "checkbox", onchange: () => this.#encode() });
    const size = height && width ? `The server makes it ${width} × ${height}. ` : "";
    const scale = this.needs ? `Its pixels are 0 to 255, so the request says {"scale": ${this.needs.scale}}.` : "";
    this.element = h(
      "div",
      null,
      this.drop,
      h(
        "label",
        { class: "check" },
        this.invert,
        " Invert (for dark ink on light paper, where the model wants ink to be high)",
      ),
      h("p", { class: "hint" }, `${size}${scale}`),
    );
  }

  take(file) {
    if (!file) return;
    this.file = file;
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = URL.createObjectURL(file);
    this.preview.src = this.#url;
    this.preview.hidden = false;
    say(this.words, file.name || "pasted image");
    this.#encode();
  }

  async read() {
    if (!this.file) throw new Error("Choose an image first.");
    return JSON.stringify([{ b64: await this.#encoded }]);
  }

  focus() {
    this.input.focus();
  }

  /** Kept as a promise: whoever sends before it is done waits for it. */
  #encode() {
    if (!this.file) return;
    this.#encoded = this.invert.checked ? inverted(this.file).then(base64) : base64(this.file);
    // Who reads it is told; nobody may ever do.
    this.#encoded.catch(() => {});
  }
}

/** The image with every colour turned to its opposite, as PNG. */
async function inverted(file) {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error("This browser cannot read that image, so it cannot invert it.");
  });
  const canvas = h("canvas", { width: bitmap.width, height: bitmap.height });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  context.globalCompositeOperation = "difference";
  context.fillRect(0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result.slice(reader.result.indexOf(",") + 1)));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(blob);
  });
}
