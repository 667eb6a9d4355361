// The engine as the page sees it. The networks run in a worker, so that the page stays responsive.

/**
 * The networks of the page. Every method returns a promise, which fails with an Error that says why.
 *
 * `facts`: {latentSize, height, width, channels, classes, title, licence, generator, backend, …}.
 */
class Engine {
  /**
   * Start the worker with the payload of the stage.
   * `backend`: "auto" takes the fastest that the browser has; "wasm" and "js" take that one.
   */
  static async start(payload, {backend = "auto"} = {}) {
    const source = document.getElementById("engine-worker").textContent;
    const address = URL.createObjectURL(new Blob([source], {type: "text/javascript"}));
    const engine = new Engine(new Worker(address));
    const {facts, generator, discriminator, weights} = payload;
    try {
      engine.facts = {...facts, ...(await engine._call("start", {facts, generator, discriminator, weights}, backend))};
    } catch (error) {
      engine.stop();
      throw error;
    } finally {
      URL.revokeObjectURL(address);
    }
    return engine;
  }

  constructor(worker) {
    this._worker = worker;
    this._waiting = new Map();
    this._calls = 0;
    worker.onmessage = ({data: {id, result, error}}) => {
      const {resolve, reject} = this._waiting.get(id);
      this._waiting.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(error));
    };
    worker.onerror = (event) => {
      for (const {reject} of this._waiting.values()) reject(new Error(event.message || "the worker did not start"));
      this._waiting.clear();
    };
  }

  /** End the worker. */
  stop() {
    this._worker.terminate();
  }

  _call(method, ...values) {
    return new Promise((resolve, reject) => {
      const id = this._calls++;
      this._waiting.set(id, {resolve, reject});
      this._worker.postMessage({id, method, values});
    });
  }

  /** The z of the seeds first, first + 1, … (whole numbers below 2⁵³): Float32Array (count × latentSize). */
  latents(first, count) {
    return this._call("latents", first, count);
  }

  /**
   * Samples: z (n × latentSize) => RGBA in [0,255], Uint8ClampedArray (n × height × width × 4).
   * `classes`, for a conditional generator: the shares of the classes, Float32Array (n × classes), or the values of the
   * attributes (n × attributes).
   */
  generate(zs, options = {}) {
    return this._call("generate", zs, options);
  }

  /** The same samples in [-1,1], as the discriminator sees them: Float32Array (n × height × width × channels). */
  images(zs, options = {}) {
    return this._call("images", zs, options);
  }

  /**
   * The output of each layer for one input, the input first: [{name, kind, height, width, channels, data}].
   * `network`: "generator" (the input is a z) or "discriminator" (an image). `norm`: with false, each batch norm returns
   * its input. `classes`: as in `generate`.
   */
  layers(input, options = {}) {
    return this._call("layers", input, options);
  }

  /** The tensors of a layer: {kernel, shape, bias} or {scale, offset, mean, variance}, as far as the layer has them. */
  weights(index) {
    return this._call("weights", index);
  }

  /** The discriminator's logits, Float32Array (n), of images in [-1,1]. `classes`: as in `generate`. */
  discriminate(images, options = {}) {
    return this._call("discriminate", images, options);
  }
}
