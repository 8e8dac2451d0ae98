// Numbers, units and times as the page writes them.

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const DASH = "–";

/** A number with three significant digits, never in exponents below 1e15. */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return DASH;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 100) return size < 1e15 ? plain.format(value) : value.toExponential(2);
  if (size < 0.001) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

export function integer(value) {
  return value === null || value === undefined ? DASH : plain.format(value);
}

export function rate(value) {
  return value === null || value === undefined ? DASH : `${number(value)}/s`;
}

/** A time in seconds, as µs, ms or s. */
export function seconds(value) {
  if (value === null || value === undefined) return DASH;
  if (value === 0) return "0 ms";
  if (value < 0.001) return `${number(value * 1e6)} µs`;
  if (value < 1) return `${number(value * 1e3)} ms`;
  return `${number(value)} s`;
}

export function milliseconds(value) {
  return value === null || value === undefined ? DASH : seconds(value / 1000);
}

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(value) {
  if (value === null || value === undefined) return DASH;
  const power = bytePower(value);
  return `${number(value / 1024 ** power)} ${BYTE_UNITS[power]}`;
}

function bytePower(value) {
  return value < 1 ? 0 : Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log2(value) / 10));
}

export function percent(share) {
  return share === null || share === undefined || Number.isNaN(share) ? DASH : `${number(share * 100)} %`;
}

/** A long duration in its two largest units. */
export function duration(value) {
  if (value === null || value === undefined) return DASH;
  const whole = Math.floor(value);
  const parts = [
    [Math.floor(whole / 86400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "0 s";
  // Beside ten hours, minutes are only noise; beside a minute, seconds are.
  const enough = first === 2 || parts[first][0] >= 10;
  return parts
    .slice(first, first + (enough ? 1 : 2))
    .filter(([count], index) => index === 0 || count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(" ");
}

/** Local time of day of a Unix time in seconds. */
export function clock(at, withSeconds = true) {
  const date = new Date(at * 1000);
  const parts = [date.getHours(), date.getMinutes()];
  if (withSeconds) parts.push(date.getSeconds());
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

/** Local date and time of an ISO 8601 time; the date only where it is not today. */
export function moment(iso) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return DASH;
  const time = clock(date.getTime() / 1000);
  if (date.toDateString() === new Date().toDateString()) return time;
  const day = [date.getFullYear(), date.getMonth() + 1, date.getDate()].map((part) => String(part).padStart(2, "0"));
  return `${day.join("-")} ${time}`;
}

/** How long ago an ISO 8601 time is, roughly. */
export function ago(iso, now) {
  if (!iso) return "never";
  const passed = Math.max(0, now - new Date(iso).getTime() / 1000);
  if (passed < 10) return "just now";
  const [amount, unit] =
    passed < 60
      ? [passed, "s"]
      : passed < 3600
        ? [passed / 60, "min"]
        : passed < 86400
          ? [passed / 3600, "h"]
          : [passed / 86400, "d"];
  return `${Math.floor(amount)} ${unit} ago`;
}

export function shape(dimensions) {
  return dimensions === null ? "of any shape" : `[${dimensions.map((size) => size ?? "?").join(", ")}]`;
}

// Units of chart axes: `base` picks the factor ticks are counted in for a largest value, `text` writes a value.
export const UNITS = {
  rate: { text: rate, base: () => 1, whole: false },
  count: { text: integer, mean: number, base: () => 1, whole: true },
  seconds: { text: seconds, base: (max) => (max < 0.001 ? 1e-6 : max < 1 ? 1e-3 : 1), whole: false },
  bytes: { text: bytes, base: (max) => 1024 ** bytePower(max), whole: false },
};
