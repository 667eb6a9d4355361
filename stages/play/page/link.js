// The state in the link's fragment: #place=12&move=0.5,-1.2&scale=0.8. What is not understood is ignored, with a note.

const LARGEST_SEED = 2 ** 32 - 1;
const LARGEST_MOVE = 6;

/** A number written in a link; null if it is not one from `low` to `high`. */
function numberIn(text, low, high) {
  const value = /^-?\d{1,10}(\.\d{1,6})?$/.test(text) ? Number(text) : NaN;
  return value >= low && value <= high ? value : null;
}

const seedIn = (text) => (/^\d{1,10}$/.test(text) ? numberIn(text, 0, LARGEST_SEED) : null);

/** The index of a class in a link; null if it is not one of `labels`. A model without classes (0) ignores it. */
const labelIn = (text, labels) => (/^\d{1,9}$/.test(text) ? numberIn(text, 0, labels ? labels - 1 : Infinity) : null);

/** A place as text: a seed, or z and its numbers, and the class if there is one. */
function textOfPlace(place, directions) {
  const unmoved = place.seed !== null && place.scale === 1 && place.moves.every((move) => !move);
  return `${unmoved ? place.seed : `z${textOfZ(zOf(place, directions))}`}${place.label === null ? "" : `:${place.label}`}`;
}

/** The place of such a text; null if it is none. */
function placeOfText(text, {latentSize, labels}) {
  const [where, name] = text.split(":", 2);
  const label = name === undefined ? null : labelIn(name, labels);
  if (name !== undefined && label === null) return null;
  const seed = seedIn(where), z = where.startsWith("z") ? zOfText(where.slice(1), latentSize) : null;
  if (seed === null && z === null) return null;
  return {...(z ? placeOf(z) : placeAt(seed, latentSize)), label: labels ? label : null};
}

/**
 * What a fragment says: {place, wall, mix, lang, theme}, and `wrong`, whether any of it was not understood.
 * `facts`: latentSize and the number of classes of the model.
 */
function readFragment(fragment, facts) {
  const {labels} = facts;
  const state = {wrong: false};
  const fields = new Map();
  for (const part of fragment.replace(/^#/, "").split("&").filter(Boolean)) {
    const [name, value = ""] = part.split("=", 2);
    fields.set(name, value);
  }
  const read = (name, parse) => {
    if (!fields.has(name)) return null;
    const value = parse(fields.get(name));
    fields.delete(name);
    if (value === null) state.wrong = true;
    return value;
  };
  state.place = read("place", (text) => placeOfText(text, facts));
  const scale = read("scale", (text) => numberIn(text, 0, 2));
  const label = read("class", (text) => labelIn(text, labels));
  const moves = read("move", (text) => {
    const values = text.split(",").map((value) => numberIn(value, -LARGEST_MOVE, LARGEST_MOVE));
    return values.length <= 8 && !values.includes(null) ? values : null;
  });
  if (state.place) {
    if (scale !== null) state.place.scale = scale;
    if (moves) moves.forEach((move, k) => (state.place.moves[k] = move));
    if (label !== null && labels) state.place.label = label;
  }
  state.wall = read("wall", seedIn);
  state.mix = read("mix", (text) => {
    const places = text.split(",").map((value) => placeOfText(value, facts));
    return places.length === 3 && !places.includes(null) ? places : null;
  });
  state.lang = read("lang", (text) => (["en", "zh"].includes(text) ? text : null));
  state.theme = read("theme", (text) => (["light", "dark"].includes(text) ? text : null));
  // A plain name is an anchor of the page.
  for (const [name, value] of fields) if (value || !document.getElementById(name)) state.wrong = true;
  return state;
}

/** The fragment of a state. */
function writeFragment({place, wall, mix, lang, theme}, directions) {
  const parts = [];
  const moved = place.moves.some(Boolean) || place.scale !== 1;
  if (place.seed !== null) {
    parts.push(`place=${place.seed}`);
    if (place.scale !== 1) parts.push(`scale=${+place.scale.toFixed(3)}`);
    if (moved) parts.push(`move=${place.moves.map((move) => +move.toFixed(3)).join(",").replace(/(,0)+$/, "")}`);
  } else {
    parts.push(`place=z${textOfZ(zOf(place, directions))}`);
  }
  if (place.label !== null) parts.push(`class=${place.label}`);
  if (wall) parts.push(`wall=${wall}`);
  if (mix) parts.push(`mix=${mix.map((one) => textOfPlace(one, directions)).join(",")}`);
  if (lang) parts.push(`lang=${lang}`);
  if (theme) parts.push(`theme=${theme}`);
  return `#${parts.join("&")}`;
}
