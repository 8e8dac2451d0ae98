// What an input of a signature can be entered as, and example values for it. Touches no page.

const INTEGER = /^u?int\d+$/;
const MOST_FIELDS = 64;
const MOST_PAD = 64;

/** {height, width, channels} of an input that the server takes as images, or null. */
export function imageOf({ dtype, shape }) {
  if (!shape || dtype === "string" || dtype === "bool" || dtype.startsWith("complex")) return null;
  if (shape.length === 4 && [1, 3, 4, null].includes(shape[3]))
    return { height: shape[1], width: shape[2], channels: shape[3] };
  if (shape.length === 3 && ![1, 3, 4].includes(shape[2])) return { height: shape[1], width: shape[2], channels: null };
  return null;
}

/** The ways an input can be entered, the handiest first: text, draw, image, fields, json. */
export function modesOf(spec) {
  const { dtype, shape } = spec;
  if (dtype === "string")
    return shape && shape.length <= 2 && shape.slice(1).every((size) => size === 1) ? ["text", "json"] : ["json"];
  const image = imageOf(spec);
  if (image) {
    const small = image.height && image.width && Math.max(image.height, image.width) <= MOST_PAD;
    const grey = image.channels === null ? shape.length === 3 : image.channels === 1;
    const modes = small && grey ? ["draw", "image", "json"] : ["image", "json"];
    // Three dimensions may be frames or steps in time as well.
    return shape.length === 4 ? modes : ["json", ...modes.filter((mode) => mode !== "json")];
  }
  const vector = shape && (shape.length === 1 || (shape.length === 2 && shape[1] !== null && shape[1] <= MOST_FIELDS));
  const number = dtype !== "bool" && !dtype.startsWith("complex");
  return vector && number ? ["fields", "json"] : ["json"];
}

export function isInteger(dtype) {
  return INTEGER.test(dtype);
}

/** Example values of the right shape and type: one row, open dimensions of 1. */
export function example({ dtype, shape }) {
  const value = dtype === "string" ? "some text" : dtype === "bool" ? true : isInteger(dtype) ? 1 : 0.5;
  if (shape === null) return [[value]];
  return fill(
    shape.map((size) => size ?? 1),
    value,
  );
}

function fill(sizes, value) {
  if (sizes.length === 0) return value;
  const [size, ...rest] = sizes;
  return Array.from({ length: size }, () => fill(rest, value));
}

/**
 * The values a picture is made of, {paper, ink}, from what the model's own preprocessing expects: with a plain scale
 * of 16, pixels are 0 to 16.
 */
export function inkOf(dtype, preprocessing) {
  const { scale, mean, std, normalize } = preprocessing ?? {};
  if (scale && mean === undefined && std === undefined) return { paper: 0, ink: scale };
  if (isInteger(dtype) || mean !== undefined || std !== undefined || normalize) return { paper: 0, ink: 255 };
  return { paper: 0, ink: 1 };
}

/**
 * Preprocessing that an encoded image needs where the model divides by something else than the 255 of its pixels;
 * null where the model's own fits.
 */
export function imageScale(preprocessing) {
  const { scale, mean, std } = preprocessing ?? {};
  return scale && scale !== 255 && mean === undefined && std === undefined ? { scale: 255 } : null;
}

/** What clients send: the signature's inputs, or the one text input of a model that tokenizes. */
export function inputsOf(signature, preprocessing) {
  const tokenize = preprocessing?.tokenize;
  if (!tokenize) return signature.inputs;
  const name = typeof tokenize === "object" ? (tokenize.text_input ?? tokenize.textInput) : null;
  return [{ name: name ?? "text", dtype: "string", shape: [null] }];
}
