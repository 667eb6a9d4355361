// The worker: holds the networks, and answers the calls of client.js one after another.

/** What the messages of the page call: each method gets the arguments of the call. */
function engineOf(payload, wanted) {
  const kernel = wanted === "js" ? null : compiledKernel();
  if (wanted === "wasm" && !kernel) throw new Error("this browser has no WebAssembly with SIMD, or forbids it");
  const backend = kernel ? assembledBackend(kernel) : plainBackend;
  const read = tensorReader(payload.weights), {latentSize, channels} = payload.facts;
  const kept = new Map();
  /** A network, built once for each way to run it. */
  const prepared = (name, options) => {
    if (!payload[name]) throw new Error(`this page has no ${name}`);
    const key = name + JSON.stringify(options);
    if (!kept.has(key)) kept.set(key, ready(payload[name], read, backend, options));
    return kept.get(key);
  };
  const run = (name, ...given) => outputs(payload[name], prepared(name, {folded: true}), given.filter(Boolean));
  return {
    backend: kernel ? "wasm" : "js",
    latents: (first, count) => latents(first, count, latentSize),
    images: (zs, {classes} = {}) => run("generator", zs, classes),
    generate(zs, {classes} = {}) {
      const values = run("generator", zs, classes);
      return pixelsOf(values, values.length / channels, channels);
    },
    discriminate: (images, {classes} = {}) => run("discriminator", images, classes),
    layers(input, {classes, norm = true, network = "generator"} = {}) {
      const {shapes, run: runAll} = prepared(network, {norms: norm});
      const results = runAll([input, classes].filter(Boolean));
      return payload[network].layers.map(({name, kind}, i) => ({name, kind, ...shapes[i], data: results[i].slice()}));
    },
    weights(index) {
      const {tensors} = payload.generator.layers[index];
      const values = Object.fromEntries(Object.entries(tensors).map(([name, place]) => [name, read(place).slice()]));
      return tensors.kernel ? {...values, shape: tensors.kernel.shape} : values;
    },
  };
}

/** Images in [-1,1] of 1, 3 or 4 channels => RGBA in [0,255], rounded to the nearest value. */
function pixelsOf(values, pixels, channels) {
  const rgba = new Uint8ClampedArray(pixels * 4);  // it rounds and clips
  const level = (i) => Math.fround(Math.fround(values[i] + 1) * 127.5);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const from = pixel * channels, to = pixel * 4;
    rgba[to] = level(from);
    rgba[to + 1] = level(channels > 1 ? from + 1 : from);
    rgba[to + 2] = level(channels > 1 ? from + 2 : from);
    rgba[to + 3] = channels === 4 ? level(from + 3) : 255;
  }
  return rgba;
}

/** The buffers in a result, which are moved to the page instead of copied. */
function buffersIn(result) {
  if (ArrayBuffer.isView(result)) return [result.buffer];
  return result && typeof result === "object" ? Object.values(result).flatMap(buffersIn) : [];
}

let engine = null;
self.onmessage = ({data: {id, method, values}}) => {
  try {
    let result;
    if (method === "start") {
      engine = engineOf(...values);
      result = {backend: engine.backend};
    } else {
      result = engine[method](...values);
    }
    self.postMessage({id, result}, buffersIn(result));
  } catch (error) {
    self.postMessage({id, error: error.message});
  }
};
