// Arithmetic on samples: which ones are kept, what they add up to, quantiles of their histograms. Touches no page.

/**
 * The value that `fraction` of the observations do not exceed: linear inside the bucket that holds it, from 0 in the
 * first; the highest bound where it lies above all of them; null where there are none. The same estimate as the
 * server's (telemetry/histograms.py), so that page and metrics agree.
 */
export function quantile(counts, bounds, fraction) {
  const observed = counts.reduce((sum, count) => sum + count, 0);
  if (observed === 0) return null;
  const rank = fraction * observed;
  const wanted = Math.max(1, Math.ceil(rank));
  let below = 0;
  for (let index = 0; index < bounds.length; index += 1) {
    if (below + counts[index] >= wanted) {
      const lower = index === 0 ? 0 : bounds[index - 1];
      return lower + (bounds[index] - lower) * Math.max(0, (rank - below) / counts[index]);
    }
    below += counts[index];
  }
  return bounds[bounds.length - 1];
}

/** A histogram that others are added to. `size` is the number of buckets. */
export function emptyHistogram(size) {
  return { counts: new Array(size).fill(0), sum: 0, count: 0 };
}

/** Add a histogram as samples carry it: buckets that are not empty, by index. */
export function addSparse(histogram, sparse) {
  if (!sparse) return;
  for (const [index, count] of Object.entries(sparse.buckets)) {
    histogram.counts[index] += count;
    histogram.count += count;
  }
  histogram.sum += sparse.sum;
}

export function addHistogram(histogram, other) {
  other.counts.forEach((count, index) => {
    histogram.counts[index] += count;
  });
  histogram.count += other.count;
  histogram.sum += other.sum;
}

export function mean(histogram) {
  return histogram.count === 0 ? null : histogram.sum / histogram.count;
}

/** What happened in a sample to the versions that `wanted` accepts. `scheme` has the bounds and stages. */
export function total(sample, wanted, scheme) {
  const buckets = scheme.secondsBounds.length + 1;
  const sum = {
    at: sample.at,
    seconds: sample.seconds,
    server: sample.server,
    requests: 0,
    failures: 0,
    errors: {},
    inFlight: 0,
    queueRows: 0,
    latency: Object.fromEntries(["total", ...scheme.stages].map((stage) => [stage, emptyHistogram(buckets)])),
    batchRows: emptyHistogram(scheme.rowsBounds.length + 1),
  };
  for (const version of sample.versions) {
    if (!wanted(version)) continue;
    sum.requests += version.requests;
    sum.inFlight += version.inFlight;
    sum.queueRows += version.queueRows;
    for (const [code, count] of Object.entries(version.errors)) {
      sum.errors[code] = (sum.errors[code] ?? 0) + count;
      sum.failures += count;
    }
    for (const [stage, histogram] of Object.entries(sum.latency)) addSparse(histogram, version.latency[stage]);
    addSparse(sum.batchRows, version.batchRows);
  }
  return sum;
}

/** Totals of several stretches of time as one; gauges are those of the last. */
export function join(totals) {
  const last = totals[totals.length - 1];
  const sum = {
    ...last,
    seconds: 0,
    requests: 0,
    failures: 0,
    errors: {},
    latency: Object.fromEntries(
      Object.entries(last.latency).map(([stage, histogram]) => [stage, emptyHistogram(histogram.counts.length)]),
    ),
    batchRows: emptyHistogram(last.batchRows.counts.length),
  };
  for (const one of totals) {
    sum.seconds += one.seconds;
    sum.requests += one.requests;
    sum.failures += one.failures;
    for (const [code, count] of Object.entries(one.errors)) sum.errors[code] = (sum.errors[code] ?? 0) + count;
    for (const [stage, histogram] of Object.entries(one.latency)) addHistogram(sum.latency[stage], histogram);
    addHistogram(sum.batchRows, one.batchRows);
  }
  return sum;
}

/** Samples of one resolution, oldest first, never more than `limit`. */
export class Ring {
  constructor(limit) {
    this.limit = limit;
    this.samples = [];
  }

  get last() {
    return this.samples[this.samples.length - 1];
  }

  /** Take up a live sample; false where it is known already. */
  add(sample) {
    if (this.last && sample.at <= this.last.at + sample.seconds / 4) return false;
    this.samples.push(sample);
    this.#trim();
    return true;
  }

  /** Take up the server's history. It is the truth for the time it covers; what is older or newer stays. */
  merge(history) {
    if (history.length === 0) return;
    const first = history[0];
    const newest = history[history.length - 1];
    const older = this.samples.filter((sample) => sample.at <= first.at - first.seconds / 2);
    const newer = this.samples.filter((sample) => sample.at > newest.at + newest.seconds / 4);
    this.samples = [...older, ...history, ...newer];
    this.#trim();
  }

  #trim() {
    if (this.samples.length > this.limit) this.samples.splice(0, this.samples.length - this.limit);
  }
}

/** Stretches of [from, to] that no sample covers, as [begin, end] pairs. */
export function gaps(samples, from, to) {
  const found = [];
  let covered = from;
  for (const sample of samples) {
    const begin = sample.at - sample.seconds;
    // Samples are taken by a timer, which may be late.
    if (begin - covered > sample.seconds * 0.75) found.push([covered, begin]);
    covered = Math.max(covered, sample.at);
  }
  const usual = samples.length ? samples[samples.length - 1].seconds : 0;
  if (to - covered > usual * 1.75) found.push([covered, to]);
  return found;
}
