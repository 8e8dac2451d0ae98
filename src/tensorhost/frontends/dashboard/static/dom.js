// Elements without HTML: everything a server says becomes a text node, whatever it contains.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element. Props that begin with "on" are listeners, `class` and dashed names are attributes, the others are
 * properties. Children are nodes or text; null and false are left out.
 */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class" || name === "for" || name === "role" || name === "list" || name.includes("-")) {
      element.setAttribute(name, value);
    } else element[name] = value;
  }
  append(element, children);
  return element;
}

/** An SVG element with attributes. */
export function s(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

/** Set the text of an element, and touch the page only where it differs. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Announce to screen readers, without moving anything on the page. */
export function announce(text) {
  const region = document.getElementById("announcements");
  // The same words twice are news twice.
  region.textContent = region.textContent === text ? `${text}\u00a0` : text;
}

/** Fill a <select> with [value, text, disabled] options, keeping what is chosen where it still exists. */
export function fillSelect(select, options) {
  const key = JSON.stringify(options);
  if (select.dataset.key === key) return;
  const chosen = select.value;
  select.dataset.key = key;
  select.replaceChildren(
    ...options.map(([value, text, disabled]) => h("option", { value, disabled: Boolean(disabled) }, text)),
  );
  if (options.some(([value]) => value === chosen)) select.value = chosen;
}

/** A choice of one from a few: radio buttons that look like one control. `choices` are [value, text]. */
export function segments(name, legend, choices, chosen, onchange) {
  return h(
    "fieldset",
    { class: "segments" },
    h("legend", { class: "visually-hidden" }, legend),
    choices.map(([value, text]) =>
      h(
        "label",
        null,
        h("input", { type: "radio", name, value, checked: value === chosen, onchange: () => onchange(value) }),
        h("span", null, text),
      ),
    ),
  );
}

let counter = 0;

/** An id that no other element of the page has. */
export function freshId(prefix) {
  counter += 1;
  return `${prefix}-${counter}`;
}

/** Copy text; false where the browser does not allow it. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without HTTPS there is no clipboard interface, only the old command on a selection.
    const area = h("textarea", { value: text, class: "visually-hidden", readOnly: true, "aria-hidden": "true" });
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return copied;
  }
}

/** A button that copies what `text` gives, and says for a moment that it did. */
export function copyButton(label, description, text) {
  const button = h("button", { type: "button", class: "small", "aria-label": description }, label);
  button.addEventListener("click", async () => {
    const copied = await copyText(text());
    announce(copied ? "Copied." : "The browser does not allow copying.");
    say(button, copied ? "Copied" : "Not allowed");
    setTimeout(() => say(button, label), 1500);
  });
  return button;
}
