// Requests to the server this page came from. URLs are relative: the page may live under a sub-path behind a proxy.

const TOKEN_KEY = "tensorhost.adminToken";

/** An answer that is an error, or no answer. `code` is the server's, or "UNREACHABLE". */
export class ApiError extends Error {
  constructor({ code, message, details, requestId, status }) {
    super(message);
    this.code = code;
    this.details = details ?? {};
    this.requestId = requestId ?? null;
    this.status = status ?? null;
  }
}

export const token = {
  get: () => sessionStorage.getItem(TOKEN_KEY),
  set: (value) => sessionStorage.setItem(TOKEN_KEY, value),
  forget: () => sessionStorage.removeItem(TOKEN_KEY),
};

/** The JSON of a GET. */
export async function get(path) {
  return JSON.parse((await exchange(path, { cache: "no-store" })).text);
}

/** POST a control call, with the admin token where there is one. */
export async function control(path, body) {
  const headers = { "Content-Type": "application/json" };
  const known = token.get();
  if (known) headers.Authorization = `Bearer ${known}`;
  return JSON.parse((await exchange(path, { method: "POST", headers, body: JSON.stringify(body) })).text);
}

/** POST a body that is JSON already. Resolves to {text, requestId, status}. */
export function post(path, body) {
  return exchange(path, { method: "POST", headers: { "Content-Type": "application/json" }, body });
}

async function exchange(path, options) {
  let response;
  let text;
  try {
    response = await fetch(path, options);
    text = await response.text();
  } catch {
    throw new ApiError({ code: "UNREACHABLE", message: "The server does not answer." });
  }
  const requestId = response.headers.get("x-request-id");
  if (response.ok) return { text, requestId, status: response.status };
  throw readError(text, response.status, requestId);
}

function readError(text, status, requestId) {
  try {
    const { error } = JSON.parse(text);
    return new ApiError({ ...error, status, requestId: error.requestId ?? requestId });
  } catch {
    // A proxy in between answers in its own words.
    return new ApiError({
      code: `HTTP ${status}`,
      message: text.slice(0, 300) || "An empty answer.",
      status,
      requestId,
    });
  }
}
