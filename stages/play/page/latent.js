// Places in the latent space, as the latent module of the stages computes them.

/** The numbers of base64 text: little-endian float32. */
function floatsOf(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

/** The z of a seed, as the stages draw it: the same seed is the same picture here and in the project's other tools. */
const latentOf = (seed, size) => latents(seed, 1, size);

const norm = (z) => Math.sqrt(z.reduce((sum, value) => sum + value * value, 0));

/** Spherical interpolation at t in [0,1] (White 2016); a straight line between parallel vectors. */
function slerp(a, b, t) {
  const cosine = a.reduce((sum, value, i) => sum + value * b[i], 0) / (norm(a) * norm(b) || 1);
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const sine = Math.sin(angle);
  const [p, q] = sine < 1e-6 ? [1 - t, t] : [Math.sin((1 - t) * angle) / sine, Math.sin(t * angle) / sine];
  return a.map((value, i) => p * value + q * b[i]);
}

/**
 * A place: a base z, times `scale`, moved along the directions by `moves` (in standard deviations of a coordinate).
 * `seed` is the base's seed, or null. `label` (class index) is for models with classes, else null.
 */
function placeAt(seed, size, label = null) {
  return {seed, base: latentOf(seed, size), scale: 1, moves: new Array(8).fill(0), label};
}

/** A place without a seed. */
const placeOf = (z, label = null) => ({seed: null, base: z, scale: 1, moves: new Array(8).fill(0), label});

/** The z of a place. */
function zOf(place, directions) {
  const z = place.base.map((value) => value * place.scale);
  directions.forEach((direction, k) => {
    const move = place.moves[k];
    if (move) direction.forEach((value, i) => (z[i] += move * value));
  });
  return z;
}

/** A z as text for a link: 16-bit numbers in steps of 1/4096, in base64url. */
function textOfZ(z) {
  const bytes = new Uint8Array(Int16Array.from(z, (value) => Math.max(-32768, Math.min(32767, Math.round(value * 4096)))).buffer);
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The z of such a text; null if it is not one of `size` numbers. */
function zOfText(text, size) {
  if (!/^[\w-]+$/.test(text)) return null;
  try {
    const bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    return bytes.length === size * 2 ? Float32Array.from(new Int16Array(bytes.buffer), (value) => value / 4096) : null;
  } catch {
    return null;
  }
}
