// Questions to the user, each a <dialog>: Escape closes it, and focus goes back to where it was.

import { freshId, h } from "./dom.js";

/**
 * Ask. `fields` are elements; `read` gives the answer when the user agrees. Resolves to the answer, or to null.
 * With `attempt`, an async function of the answer, the dialog stays open while it throws, and shows why.
 */
export function ask({ title, text = null, fields = [], agree, danger = false, read = () => true, attempt = null }) {
  const opener = document.activeElement;
  const id = freshId("dialog");
  const problem = h("p", { class: "problem", role: "alert" });
  const submit = h("button", { type: "submit", class: danger ? "danger" : "primary" }, agree);
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", { id }, title),
    text && h("p", null, text),
    fields,
    problem,
    h(
      "div",
      { class: "buttons" },
      h("button", { type: "button", class: "plain", onclick: () => dialog.close() }, "Cancel"),
      submit,
    ),
  );
  const dialog = h("dialog", { "aria-labelledby": id }, form);
  return new Promise((resolve) => {
    let answer = null;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      submit.disabled = true;
      problem.textContent = "";
      try {
        const given = read();
        if (attempt) await attempt(given);
        answer = given;
        dialog.close();
      } catch (error) {
        problem.textContent = error.message;
      } finally {
        submit.disabled = false;
      }
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      opener?.focus?.();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
    (fields[0]?.querySelector?.("input, select") ?? submit).focus();
  });
}

/** A labelled form field. */
export function field(label, control, hint = null) {
  const id = freshId("field");
  control.id = id;
  return h("div", { class: "field" }, h("label", { for: id }, label), control, hint && h("p", { class: "hint" }, hint));
}
