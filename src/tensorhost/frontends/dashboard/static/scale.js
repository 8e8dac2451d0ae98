// Ticks of axes. Touches no page.

const STEPS = [1, 2, 2.5, 5, 10];
const TIME_STEPS_S = [10, 30, 60, 120, 300, 600, 900, 1800, 3600];

/** Round values from 0 up to at least `max`, about `wanted` of them. `unit` is one of format.UNITS. */
export function valueTicks(max, unit, wanted = 4) {
  const factor = unit.base(max);
  const top = max > 0 ? max / factor : 1;
  const rough = top / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const candidates = unit.whole ? STEPS.filter((step) => Number.isInteger(step * power)) : STEPS;
  const step = (candidates.find((one) => one * power >= rough) ?? 1 / power) * power;
  const count = Math.max(1, Math.ceil(top / step - 1e-9));
  return Array.from({ length: count + 1 }, (_, index) => Number((index * step).toPrecision(12)) * factor);
}

/**
 * An axis: {ticks, place}, where place(value) is 0 at its lower end and 1 at its upper. With `log`, it spans the powers
 * of ten around the positive values; what is 0 lies at its lower end.
 */
export function axis(values, unit, log) {
  const max = Math.max(0, ...values);
  const positive = values.filter((value) => value > 0);
  if (!log || positive.length === 0) {
    const ticks = valueTicks(max, unit);
    return { ticks, place: (value) => value / ticks[ticks.length - 1] };
  }
  const low = Math.floor(Math.log10(Math.min(...positive)) + 1e-9);
  const high = Math.max(low + 1, Math.ceil(Math.log10(max) - 1e-9));
  const steps = high - low > 1 ? [1] : [1, 2, 5];
  const ticks = [];
  for (let power = low; power < high; power += 1) ticks.push(...steps.map((step) => step * 10 ** power));
  ticks.push(10 ** high);
  const place = (value) => (value > 0 ? Math.max(0, (Math.log10(value) - low) / (high - low)) : 0);
  return { ticks, place };
}

/** Unix times at round times of day inside [from, to], at most `most` of them. */
export function timeTicks(from, to, most) {
  const step = TIME_STEPS_S.find((one) => (to - from) / one <= most) ?? 3600;
  const zone = new Date(to * 1000).getTimezoneOffset() * 60;
  const first = Math.ceil((from - zone) / step) * step + zone;
  const ticks = [];
  for (let at = first; at <= to; at += step) ticks.push(at);
  return ticks;
}
