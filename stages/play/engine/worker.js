// The worker: holds the networks, and answers the calls of client.js one after another.

/** What the worker's messages call. A method gets the arguments of the call. */
function engineOf(payload, wanted) {
  const kernel = wanted === "js" ? null : compiledKernel();
  if (wanted === "wasm" && !kernel) throw new Error("this browser has no WebAssembly with SIMD, or forbids it");
  const backend = kernel ? assembledBackend(kernel) : plainBackend;
  const read = tensorReader(payload.weights);
  const kept = new Map();
  // The steps of a network are built once for each way to run them.
  const stepsOf = (name, options) => {
    const key = name + JSON.stringify(options);
    if (!kept.has(key)) kept.set(key, steps(payload[name], read, backend, options));
    return kept.get(key);
  };
  const {height, width, channels} = payload.facts;
  return {
    backend: kernel ? "wasm" : "js",
    generate(zs) {
      const values = outputs(stepsOf("generator", {folded: true}), payload.generator, zs);
      return pixelsOf(values, values.length / channels, channels);
    },
    images(zs) {
      return outputs(stepsOf("generator", {folded: true}), payload.generator, zs);
    },
    layers(input, {norm = true, network = "generator"} = {}) {
      let data = input;
      return stepsOf(network, {norms: norm}).map(({layer, output, run}) => {
        data = run(data);
        return {name: layer.name, kind: layer.kind, ...output, data: data.slice()};
      });
    },
    weights(index) {
      const {tensors} = payload.generator.layers[index];
      return Object.fromEntries(Object.entries(tensors).flatMap(([name, place]) => [
        [name, read(place).slice()],
        ...(name === "kernel" ? [["shape", place.shape]] : []),
      ]));
    },
    latents: (first, count) => latents(first, count, payload.facts.latentSize),
    discriminate(images) {
      if (!payload.discriminator) throw new Error("this page has no discriminator");
      if (images.length % (height * width * channels)) throw new Error("expected whole images");
      return outputs(stepsOf("discriminator", {folded: true}), payload.discriminator, images);
    },
  };
}

/** Images in [-1,1] of 1, 3 or 4 channels => RGBA in [0,255], rounded to the nearest value. */
function pixelsOf(values, pixels, channels) {
  const rgba = new Uint8ClampedArray(pixels * 4);
  const level = (i) => Math.fround(Math.fround(values[i] + 1) * 127.5);  // the assignment rounds and clips
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
    self.postMessage({id, result}, [...new Set(buffersIn(result))]);
  } catch (error) {
    self.postMessage({id, error: error.message});
  }
};
