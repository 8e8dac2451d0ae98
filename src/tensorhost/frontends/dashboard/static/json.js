// JSON as text. Numbers are never parsed on the way: a 64-bit integer keeps all its digits in both directions.

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/** The same JSON, indented; a list or object that fits on a line of `width` characters stays on one. */
export function indent(text, width = 76) {
  const tokens = text.match(TOKEN) ?? [];
  let place = 0;
  const read = () => {
    const token = tokens[place];
    place += 1;
    if (token !== "[" && token !== "{") return token;
    const parts = [];
    while (tokens[place] !== "]" && tokens[place] !== "}") {
      let part = read();
      if (tokens[place] === ":") {
        place += 1;
        part = { key: part, value: read() };
      }
      parts.push(part);
      if (tokens[place] === ",") place += 1;
    }
    place += 1;
    return { list: token === "[", parts };
  };
  const flat = (node) => {
    if (typeof node === "string") return node;
    if ("key" in node) return `${node.key}: ${flat(node.value)}`;
    return `${node.list ? "[" : "{"}${node.parts.map(flat).join(", ")}${node.list ? "]" : "}"}`;
  };
  const write = (node, margin) => {
    if (typeof node === "string") return node;
    if ("key" in node) return `${node.key}: ${write(node.value, margin)}`;
    const line = flat(node);
    if (margin.length + line.length <= width) return line;
    const inner = `${margin}  `;
    const parts = node.parts.map((part) => inner + write(part, inner));
    return `${node.list ? "[" : "{"}\n${parts.join(",\n")}\n${margin}${node.list ? "]" : "}"}`;
  };
  return write(read(), "");
}

const PYTHON = { true: "True", false: "False", null: "None" };

/** The same value as a Python literal. */
export function toPython(text) {
  const spaced = { ",": ", ", ":": ": " };
  // Escapes mean other things in Python: what they stand for means the same.
  const plain = (token) => (token.startsWith('"') ? JSON.stringify(JSON.parse(token)) : token);
  return (text.match(TOKEN) ?? []).map((token) => PYTHON[token] ?? spaced[token] ?? plain(token)).join("");
}

/** Check that a text is JSON; an Error says where it is not. */
export function check(text, what) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${what} is not JSON: ${error.message}`);
  }
}
