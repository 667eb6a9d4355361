// The z of a seed, as NumPy draws it: the same seed is the same picture here, in `make demo` and in the sample stage.

const MASK64 = (1n << 64n) - 1n;
const MASK128 = (1n << 128n) - 1n;
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;

/** The eight 32-bit words that NumPy's SeedSequence makes of a seed from 0 to 2^53 - 1. */
function seedWords(seed) {
  const entropy = seed < 2 ** 32 ? [seed >>> 0] : [seed >>> 0, Math.floor(seed / 2 ** 32)];
  let constant = 0x43b0d7e5;
  const hash = (value) => {
    value = (value ^ constant) >>> 0;
    constant = Math.imul(constant, 0x931e8875) >>> 0;
    value = Math.imul(value, constant) >>> 0;
    return (value ^ (value >>> 16)) >>> 0;
  };
  const mix = (x, y) => {
    const mixed = (Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y)) >>> 0;
    return (mixed ^ (mixed >>> 16)) >>> 0;
  };
  const pool = [0, 1, 2, 3].map((i) => hash(entropy[i] ?? 0));
  for (let source = 0; source < 4; source++) {
    for (let target = 0; target < 4; target++) {
      if (source !== target) pool[target] = mix(pool[target], hash(pool[source]));
    }
  }
  let other = 0x8b51f9dd;
  return Array.from({length: 8}, (_, i) => {
    let value = (pool[i % 4] ^ other) >>> 0;
    other = Math.imul(other, 0x58f38ded) >>> 0;
    value = Math.imul(value, other) >>> 0;
    return (value ^ (value >>> 16)) >>> 0;
  });
}

/** NumPy's PCG64 (O'Neill 2014, XSL-RR 128/64) as a function that returns 32 bits at a time. */
function pcg64(seed) {
  const words = seedWords(seed).map(BigInt);
  const whole = (i) => words[2 * i] | (words[2 * i + 1] << 32n);
  const increment = ((((whole(2) << 64n) | whole(3)) << 1n) | 1n) & MASK128;
  let state = (increment + ((whole(0) << 64n) | whole(1))) & MASK128;
  const step = () => {
    state = (state * MULTIPLIER + increment) & MASK128;
  };
  step();
  let kept = -1;
  return () => {
    if (kept >= 0) {
      const value = kept;
      kept = -1;
      return value;
    }
    step();
    const high = state >> 64n;
    const mixed = (high ^ state) & MASK64;
    const turn = high >> 58n;
    const value = ((mixed >> turn) | (mixed << ((64n - turn) & 63n))) & MASK64;
    kept = Number(value >> 32n);
    return Number(value & 0xffffffffn);
  };
}

const TAIL = 3.6541528853610088;
const AREA = 0.00492867323399;

/** The tables of the ziggurat of 256 layers (Marsaglia, Tsang 2000), for 23 bits. */
const ZIGGURAT = (() => {
  const density = (x) => Math.exp(-0.5 * x * x);
  const edges = new Float64Array(257);
  edges[256] = AREA / density(TAIL);
  edges[255] = TAIL;
  for (let i = 254; i > 0; i--) {
    edges[i] = Math.sqrt(-2 * Math.log(AREA / edges[i + 1] + density(edges[i + 1])));
  }
  const inside = new Uint32Array(256);
  const width = new Float32Array(256);
  const height = new Float32Array(256);
  for (let i = 0; i < 256; i++) {
    const [outer, inner] = i ? [edges[i], edges[i - 1]] : [edges[256], TAIL];
    inside[i] = Math.floor((inner / outer) * 2 ** 23);
    width[i] = outer / 2 ** 23;
    height[i] = i ? density(edges[i]) : 1;
  }
  inside[1] = 0;
  return {inside, width, height};
})();

/** `count` numbers from N(0, 1) for a seed: Float32Array, equal to NumPy's standard_normal of PCG64(seed). */
function latentOf(seed, count) {
  const next = pcg64(seed);
  const uniform = () => Math.fround((next() >>> 8) / 2 ** 24);
  const {inside, width, height} = ZIGGURAT;
  const normal = () => {
    for (;;) {
      const bits = next();
      const layer = bits & 0xff;
      const size = (bits >>> 9) & 0x7fffff;
      const x = Math.fround(size * width[layer]) * (bits & 0x100 ? -1 : 1);
      if (size < inside[layer]) return x;
      if (layer > 0) {
        if ((height[layer - 1] - height[layer]) * uniform() + height[layer] < Math.exp(-0.5 * x * x)) return x;
        continue;
      }
      for (;;) {
        const beyond = -Math.log1p(-uniform()) / TAIL;
        const y = -Math.log1p(-uniform());
        if (2 * y > beyond * beyond) return (size >>> 8) & 1 ? -(TAIL + beyond) : TAIL + beyond;
      }
    }
  };
  return Float32Array.from({length: count}, normal);
}
