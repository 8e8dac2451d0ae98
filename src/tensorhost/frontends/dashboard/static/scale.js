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

/** Unix times at round times of day inside [from, to], at most `most` of them. */
export function timeTicks(from, to, most) {
  const step = TIME_STEPS_S.find((one) => (to - from) / one <= most) ?? 3600;
  const zone = new Date(to * 1000).getTimezoneOffset() * 60;
  const first = Math.ceil((from - zone) / step) * step + zone;
  const ticks = [];
  for (let at = first; at <= to; at += step) ticks.push(at);
  return ticks;
}
