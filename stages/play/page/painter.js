// One worker, many wishes: the picture under the hand comes first, the rest when the worker is free.

/** Background work takes at most about this many milliseconds at a time, so that the hand never waits longer. */
const SLICE = 12;

/** The number of classes that a place can have; 0 for an unconditional model. Its networks may get attributes instead. */
const labelsOf = ({conditional, classes}) => (conditional ? classes.length : 0);

class Painter {
  /** `failed` is called with the error if a picture cannot be computed. */
  constructor(engine, directions, failed) {
    this._failed = failed;
    this.engine = engine;
    this.directions = directions;
    this._urgent = new Map();
    this._later = [];
    this._running = false;
    this._pictures = 2;
  }

  async _generate(places) {
    const {latentSize} = this.engine.facts;
    const zs = new Float32Array(places.length * latentSize);
    places.forEach((place, i) => zs.set(zOf(place, this.directions), i * latentSize));
    try {
      return await this.engine.generate(zs, {classes: this.shares(places)});
    } catch (error) {
      this._failed(error);
      return null;
    }
  }

  /**
   * The classes of places as shares (n × classes) or as the values of their attributes (n × attributes), for a model that
   * draws by class; undefined for another model.
   */
  shares(places) {
    const {attributes} = this.engine.facts, labels = labelsOf(this.engine.facts);
    if (!labels) return undefined;
    const size = attributes ? attributes[0].length : labels;
    const shares = new Float32Array(places.length * size);
    places.forEach(({label}, i) => {
      if (attributes) shares.set(attributes[label], i * size);
      else shares[i * size + label] = 1;
    });
    return shares;
  }

  /** The pictures of places, as RGBA, as soon as possible; null if a newer wish of the same name replaced this one. */
  now(name, places) {
    this._urgent.get(name)?.resolve(null);
    return new Promise((resolve) => {
      this._urgent.set(name, {places, resolve});
      this._run();
    });
  }

  /** The pictures of many places, one by one: `show(index, rgba)`. A new wish of the same name replaces the old one. */
  later(name, places, show) {
    this._later = this._later.filter((wish) => wish.name !== name);
    this._later.push({name, places, show, next: 0});
    this._run();
  }

  async _run() {
    if (this._running) return;
    this._running = true;
    while (this._urgent.size || this._later.length) {
      const [name] = this._urgent.keys();
      if (name !== undefined) await this._answer(name);
      else await this._slice();
    }
    this._running = false;
  }

  async _answer(name) {
    const {places, resolve} = this._urgent.get(name);
    this._urgent.delete(name);
    resolve(await this._generate(places));
  }

  async _slice() {
    const wish = this._later[0];
    const places = wish.places.slice(wish.next, wish.next + this._pictures);
    const started = performance.now();
    if (places.length) {
      const rgba = await this._generate(places);
      if (!rgba) return void (this._later = []);
      const length = rgba.length / places.length;
      places.forEach((_, i) => wish.show(wish.next + i, rgba.subarray(i * length, (i + 1) * length)));
    }
    wish.next += places.length;
    if (wish.next >= wish.places.length) this._later = this._later.filter((other) => other !== wish);
    const each = (performance.now() - started) / Math.max(1, places.length);
    this._pictures = Math.max(1, Math.min(32, Math.round(SLICE / each)));
  }
}
