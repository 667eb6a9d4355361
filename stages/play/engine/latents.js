// The z of a seed, bit for bit as stages/latent.py draws it: NumPy's SeedSequence, PCG64, and its float32 ziggurat.

const MASK_64 = (1n << 64n) - 1n, MASK_128 = (1n << 128n) - 1n;

/** The 128-bit state and increment of PCG64(seed), by NumPy's SeedSequence (O'Neill's seed_seq with a pool of four). */
function pcgSeed(seed) {
  const words = [];
  for (let rest = BigInt(seed); rest > 0n || !words.length; rest >>= 32n) words.push(Number(rest & 0xffffffffn));
  let constant = 0x43b0d7e5;
  const hashed = (value) => {
    value ^= constant;
    constant = Math.imul(constant, 0x931e8875);
    value = Math.imul(value, constant);
    return value ^ (value >>> 16);
  };
  const mixed = (x, y) => {
    const result = Math.imul(x, 0xca01f9dd) - Math.imul(y, 0x4973f715);
    return result ^ (result >>> 16);
  };
  const pool = [0, 1, 2, 3].map((i) => hashed(words[i] || 0));
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) if (from !== to) pool[to] = mixed(pool[to], hashed(pool[from]));
  }
  constant = 0x8b51f9dd;
  const numbers = Array.from({length: 8}, (_, i) => {
    let value = pool[i % 4] ^ constant;
    constant = Math.imul(constant, 0x58f38ded);
    value = Math.imul(value, constant);
    return BigInt((value ^ (value >>> 16)) >>> 0);
  });
  const wide = (i) => numbers[2 * i] | (numbers[2 * i + 1] << 32n);
  return {start: (wide(0) << 64n) | wide(1), sequence: (wide(2) << 64n) | wide(3)};
}

/** A function that returns the next 32 bits of PCG64 (XSL-RR 128/64; O'Neill 2014): the lower half of 64, then the upper. */
function pcg(seed) {
  const multiplier = 0x2360ed051fc65da44385df649fccf645n;
  const {start, sequence} = pcgSeed(seed);
  const increment = ((sequence << 1n) | 1n) & MASK_128;
  const step = (state) => (state * multiplier + increment) & MASK_128;
  let state = step(step(0n) + start), upper = -1;
  return () => {
    if (upper >= 0) {
      const kept = upper;
      upper = -1;
      return kept;
    }
    state = step(state);
    const rotation = state >> 122n, folded = (state >> 64n) ^ (state & MASK_64);
    const output = ((folded >> rotation) | (folded << (64n - rotation))) & MASK_64;
    upper = Number(output >> 32n);
    return Number(output & 0xffffffffn);
  };
}

/**
 * The tables of a ziggurat of 256 layers for the normal distribution, with numbers of 23 bits (Marsaglia, Tsang 2000).
 * The tail begins at `edge`. Every layer has the area `area`.
 */
function ziggurat() {
  const edge = 3.6541528853610088, area = 0.00492867323399, steps = 2 ** 23;
  const density = (x) => Math.exp(-0.5 * x * x);
  const width = new Float32Array(256), limit = new Uint32Array(256), height = new Float32Array(256);
  const whole = area / density(edge);
  limit[0] = (edge / whole) * steps;
  limit[1] = 0;
  width[0] = whole / steps;
  width[255] = edge / steps;
  height[0] = 1;
  height[255] = density(edge);
  for (let i = 254, last = edge; i >= 1; i--) {
    const x = Math.sqrt(-2 * Math.log(area / last + density(last)));
    limit[i + 1] = (x / last) * steps;
    height[i] = density(x);
    width[i] = x / steps;
    last = x;
  }
  return {edge, width, limit, height};
}

const TABLES = ziggurat();

/** A standard normal number, rounded to float32 after each operation, as C's float arithmetic is. */
function normal(next) {
  const {edge, width, limit, height} = TABLES;
  const float = Math.fround, uniform = () => (next() >>> 8) * 2 ** -24;
  for (;;) {
    const bits = next(), layer = bits & 255, distance = (bits >>> 9) & 0x7fffff;
    const size = float(distance * width[layer]), x = bits & 256 ? -size : size;
    if (distance < limit[layer]) return x;
    if (layer) {
      const y = float(float(float(height[layer - 1] - height[layer]) * uniform()) + height[layer]);
      if (y < Math.exp(-0.5 * x * x)) return x;
      continue;
    }
    for (;;) {
      const beyond = float(float(-1 / edge) * float(Math.log1p(-uniform())));
      const y = -float(Math.log1p(-uniform()));
      if (y + y > beyond * beyond) return (distance >>> 8) & 1 ? -float(float(edge) + beyond) : float(float(edge) + beyond);
    }
  }
}

/** The z of the seeds first, first + 1, …: Float32Array (count × dimensions). */
function latents(first, count, dimensions) {
  const z = new Float32Array(count * dimensions);
  for (let i = 0; i < count; i++) {
    const next = pcg(first + i);
    for (let d = 0; d < dimensions; d++) z[i * dimensions + d] = normal(next);
  }
  return z;
}
