// Changing what is served: who may, the admin token, and the calls.

import { control, token } from "./api.js";
import { ask, field } from "./dialogs.js";
import { announce, h } from "./dom.js";

/** Whether this page may change anything at all, and a word on it: {allowed, text}. */
export function rights(server) {
  if (server?.controlNeeds === "off") {
    const text =
      "Read-only: the server listens beyond this machine and no admin token is set. Set TENSORHOST_ADMIN_TOKEN to allow changes.";
    return { allowed: false, text };
  }
  if (server?.controlNeeds === "token" && !token.get()) return { allowed: true, text: "Changes need the admin token." };
  return { allowed: Boolean(server), text: null };
}

/** Ask for the token; true when one was given. It is checked by what it is used for next. */
export async function askForToken(attempt = null) {
  const input = h("input", { type: "password", autocomplete: "off", required: true, spellcheck: false });
  const given = await ask({
    title: "Admin token",
    text: "This server takes changes with its admin token only (TENSORHOST_ADMIN_TOKEN). It is kept in this tab until it is closed.",
    fields: [field("Token", input)],
    agree: "Use token",
    read: () => input.value.trim(),
    attempt: async (value) => {
      token.set(value);
      if (attempt) await attempt();
    },
  });
  return given !== null;
}

export class Operator extends EventTarget {
  constructor(feed) {
    super();
    this.feed = feed;
  }

  /** Enter or forget the token. */
  async enterToken() {
    await askForToken();
    this.#changed();
  }

  forgetToken() {
    token.forget();
    this.#changed();
  }

  load(name, version) {
    return this.#call(name, "load", { version }, () => `${name} ${version} is loaded.`);
  }

  unload(name, version) {
    return this.#call(name, "unload", { version }, () => `${name} ${version} is unloaded.`);
  }

  /** Make a label point to a version, or nowhere (null). */
  label(name, label, version) {
    const done = ({ allVersionLabels }) => {
      const target = allVersionLabels[label];
      return target === undefined ? `${label} of ${name} is removed.` : `${label} of ${name} is version ${target}.`;
    };
    return this.#call(name, "labels", { label, version }, done);
  }

  /** Make a call; where the token is missing or wrong, ask for it and make the call again. Null if the user gave up. */
  async #call(name, action, body, done) {
    let answer = null;
    const attempt = async () => {
      try {
        answer = await control(`models/${encodeURIComponent(name)}/${action}`, body);
      } catch (error) {
        if (error.code === "UNAUTHENTICATED") token.forget();
        throw error;
      }
    };
    try {
      await attempt();
    } catch (error) {
      if (error.code !== "UNAUTHENTICATED") throw error;
      await askForToken(tolerating(attempt, (failure) => (answer = failure)));
      this.#changed();
      if (answer instanceof Error) throw answer;
      if (answer === null) return null;
    }
    announce(done(answer));
    return answer;
  }

  #changed() {
    this.dispatchEvent(new Event("token"));
  }
}

/** The token dialog stays open for a wrong token only; any other failure is for the page that made the call. */
function tolerating(attempt, keep) {
  return async () => {
    try {
      await attempt();
    } catch (error) {
      if (error.code === "UNAUTHENTICATED") throw error;
      keep(error);
    }
  };
}
