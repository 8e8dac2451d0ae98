// What the server says about itself, kept up to date: history when the page is opened or the connection comes back,
// server-sent events in between. Everything kept is bounded; a hidden page lets go of its connection.

import { get } from "./api.js";
import { Ring } from "./samples.js";

const SILENCE_MS = 12_000;
const HIDDEN_MS = 60_000;
// The server works its start out anew each time it is asked.
const SAME_START_S = 5;
const MOST_STARTS = 20;
const RETRY_MS = [1000, 2000, 4000, 8000];

export class Feed extends EventTarget {
  server = null;
  models = null;
  errors = null;
  status = "connecting";
  rings = { fine: new Ring(1), coarse: new Ring(1) };
  starts = [];
  #source = null;
  #attempts = 0;
  #timer = 0;
  #silence = 0;
  #hidden = 0;
  #heardAt = 0;
  #heardSample = 0;

  /** Connect, and stay connected while the page is seen. */
  start() {
    document.addEventListener("visibilitychange", () => this.#visibility());
    addEventListener("online", () => this.#retryNow());
    this.#connect();
    this.#visibility();
  }

  /** The server's time now, in Unix seconds, by its newest sample. */
  get now() {
    if (!this.#heardSample) return Date.now() / 1000;
    return this.#heardSample + (performance.now() - this.#heardAt) / 1000;
  }

  #connect() {
    this.#close();
    const source = new EventSource("dashboard/events");
    this.#source = source;
    source.addEventListener("sample", (event) => this.#sample("fine", event));
    source.addEventListener("coarse", (event) => this.#sample("coarse", event));
    source.addEventListener("models", (event) => this.#take("models", event));
    source.addEventListener("errors", (event) => this.#take("errors", event));
    source.addEventListener("bye", () => this.#lost());
    source.addEventListener("error", () => this.#lost());
    source.addEventListener("open", () => this.#opened(source));
    this.#listen();
  }

  async #opened(source) {
    try {
      const [server, fine, coarse] = await Promise.all([
        get("dashboard/server"),
        get("dashboard/history?resolution=fine"),
        get("dashboard/history?resolution=coarse"),
      ]);
      if (source !== this.#source) return;
      this.#meet(server);
      this.rings.fine.merge(fine.samples);
      this.rings.coarse.merge(coarse.samples);
      this.#heard(this.rings.fine.last);
    } catch {
      if (source === this.#source) this.#lost();
      return;
    }
    this.#attempts = 0;
    this.#set("live");
    this.dispatchEvent(new Event("samples"));
  }

  #meet(server) {
    for (const [resolution, { samples }] of Object.entries(server.resolutions)) this.rings[resolution].limit = samples;
    const started = Date.parse(server.startedAt) / 1000;
    const known = this.starts.some((at) => Math.abs(at - started) < SAME_START_S);
    if (!known) this.starts = [...this.starts, started].slice(-MOST_STARTS);
    this.server = server;
    this.dispatchEvent(new Event("server"));
  }

  #sample(resolution, event) {
    this.#listen();
    const sample = JSON.parse(event.data);
    if (!this.rings[resolution].add(sample)) return;
    if (resolution === "fine") this.#heard(sample);
    else this.#refresh();
    if (this.server) this.dispatchEvent(new Event("samples"));
  }

  /** Workers may have been replaced since. */
  async #refresh() {
    const source = this.#source;
    const server = await get("dashboard/server").catch(() => null);
    if (server && source === this.#source) this.#meet(server);
  }

  #heard(sample) {
    if (!sample) return;
    this.#heardAt = performance.now();
    this.#heardSample = sample.at;
  }

  #take(what, event) {
    this.#listen();
    this[what] = JSON.parse(event.data);
    this.dispatchEvent(new Event(what));
  }

  /** A connection that says nothing for long is none, whatever the browser thinks of it. */
  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#lost(), SILENCE_MS);
  }

  #lost() {
    this.#close();
    this.#set(this.server ? "lost" : "connecting");
    const wait = RETRY_MS[Math.min(this.#attempts, RETRY_MS.length - 1)];
    this.#attempts += 1;
    this.#timer = setTimeout(() => this.#connect(), wait);
  }

  #retryNow() {
    if (this.#source || document.hidden) return;
    this.#connect();
  }

  #visibility() {
    clearTimeout(this.#hidden);
    if (document.hidden) {
      this.#hidden = setTimeout(() => {
        this.#set("paused");
        this.#close();
      }, HIDDEN_MS);
    } else {
      this.#retryNow();
    }
  }

  #close() {
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    this.#source?.close();
    this.#source = null;
  }

  #set(status) {
    if (this.status === status) return;
    this.status = status;
    this.dispatchEvent(new Event("status"));
  }
}
