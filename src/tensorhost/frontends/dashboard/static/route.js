// Where in the page one is, as the part of the URL after "#": overview?model=digits&range=1h, try/digits?version=2.

/** {view, subject, parameters} of the current URL. */
export function route() {
  const [path, query = ""] = location.hash.slice(1).split("?");
  const [view, ...rest] = path.split("/");
  return { view, subject: decode(rest.join("/")), parameters: new URLSearchParams(query) };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The URL part for a place; empty parameters are left out. */
export function hash(view, subject = "", parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value)).toString();
  return `#${view}${subject ? `/${encodeURIComponent(subject)}` : ""}${query ? `?${query}` : ""}`;
}

/** Go to another place. */
export function go(view, subject, parameters) {
  location.hash = hash(view, subject, parameters);
}

/** Stay, with other parameters; the way back does not stop at each of them. */
export function setParameters(parameters) {
  const { view, subject } = route();
  location.replace(hash(view, subject, parameters));
}
