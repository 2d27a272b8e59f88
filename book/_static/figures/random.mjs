/** Random numbers from a seed, so that every reader sees the same draws. */

/** Return a function that gives uniform numbers in (0, 1): Marsaglia's xorshift with 32 bits, seeded by a hash. */
export function uniform(seed) {
  // Neighbouring seeds must not give neighbouring states, and the state must not be zero.
  let state = Math.imul((seed + 1) ^ 0x5bd1e995, 0x9e3779b1) | 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  for (let skipped = 0; skipped < 16; skipped += 1) next();
  return next;
}

/** Return a function that gives standard normal numbers, two for every two uniform ones (Box and Muller). */
export function normal(seed) {
  const next = uniform(seed);
  let spare = null;
  return () => {
    if (spare !== null) {
      const value = spare;
      spare = null;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(next()));
    const angle = 2 * Math.PI * next();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}
