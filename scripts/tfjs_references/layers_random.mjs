// Seeded random numbers, so that every run of the scripts writes the same files.

export class Random {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  // A float in [0, 1): a linear congruential generator is plenty for weights nobody trusts.
  next() {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
    return this.state / 2 ** 32;
  }

  floats(count, low = -1, high = 1) {
    return Float32Array.from({ length: count }, () => low + (high - low) * this.next());
  }

  integers(count, low, high) {
    return Int32Array.from({ length: count }, () => low + Math.floor((high - low) * this.next()));
  }
}

export function seedOf(text) {
  let seed = 2166136261;
  for (const character of text) {
    seed = Math.imul(seed ^ character.codePointAt(0), 16777619);
  }
  return seed >>> 0;
}
