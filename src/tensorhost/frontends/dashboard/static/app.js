// Starts the page: what is shown where, the connection's state, the theme.

import { announce, say } from "./dom.js";
import { Errors } from "./errors.js";
import { Feed } from "./feed.js";
import { Models } from "./models.js";
import { Operator } from "./operator.js";
import { Overview } from "./overview.js";
import { route } from "./route.js";
import { Try } from "./try.js";

const STATUS = {
  connecting: "Connecting…",
  live: "Live",
  lost: "Connection lost, trying again…",
  paused: "Paused",
};

const feed = new Feed();
const operator = new Operator(feed);
const views = {
  overview: new Overview(feed),
  models: new Models(feed, operator),
  try: new Try(feed),
  errors: new Errors(feed),
};

const main = document.getElementById("main");
for (const view of Object.values(views)) {
  view.element.hidden = true;
  main.append(view.element);
}

let shown = null;

function show() {
  const { view, subject, parameters } = route();
  const name = view in views ? view : "overview";
  const moved = shown !== null && shown !== name;
  shown = name;
  for (const [key, one] of Object.entries(views)) one.element.hidden = key !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${views[name].title} – tensorhost`;
  views[name].show(parameters, subject);
  // Who moved by keyboard or screen reader goes on reading at the new title.
  if (moved) {
    scrollTo(0, 0);
    views[name].element.querySelector("h2").focus({ preventScroll: true });
  }
}

function showStatus() {
  const status = document.getElementById("status");
  status.dataset.status = feed.status;
  say(status.querySelector("span"), STATUS[feed.status]);
  document.getElementById("lost").hidden = feed.status !== "lost";
}

function showErrorCount() {
  const count = feed.errors?.errors.length ?? 0;
  const badge = document.getElementById("error-count");
  say(badge, count >= 100 ? "99+" : String(count));
  badge.hidden = count === 0;
}

const system = matchMedia("(prefers-color-scheme: dark)");
const themeButton = document.getElementById("theme");

function isDark() {
  const { theme } = document.documentElement.dataset;
  return theme ? theme === "dark" : system.matches;
}

function showTheme() {
  const other = isDark() ? "light" : "dark";
  themeButton.setAttribute("aria-label", `Switch to ${other} colours`);
  themeButton.title = `Switch to ${other} colours`;
}

function switchTheme() {
  const dark = !isDark();
  // Back at what the system says, the page follows the system again.
  if (dark === system.matches) {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("tensorhost.theme");
  } else {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    localStorage.setItem("tensorhost.theme", document.documentElement.dataset.theme);
  }
  showTheme();
  announce(`${dark ? "Dark" : "Light"} colours.`);
}

addEventListener("hashchange", show);
document.getElementById("skip").addEventListener("click", (event) => {
  // The part of the URL after "#" is taken: it says which page is shown.
  event.preventDefault();
  views[shown].element.querySelector("h2").focus();
});
feed.addEventListener("status", showStatus);
feed.addEventListener("errors", showErrorCount);
feed.addEventListener("server", () => say(document.getElementById("version"), feed.server.version));
themeButton.addEventListener("click", switchTheme);
system.addEventListener("change", showTheme);

showTheme();
showStatus();
show();
feed.start();
