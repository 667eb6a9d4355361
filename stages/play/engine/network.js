// A network: the layers of stages/play/packing.py, each as a step that maps an image (height, width, channels) to one.
//
// Convolutions, transposed convolutions and dense layers are sums of `passes`. A pass is what a kernel (plain.js,
// assembled.js) computes: at every pixel of a grid, the products of a window of the padded input with a matrix.
// A transposed convolution of stride 2 is four passes, one for each parity of row and column: each is a convolution
// with those weights of the kernel that do not meet an inserted zero (Dumoulin, Visin 2016, arXiv:1603.07285).

/** Channels that a kernel computes at a time. The matrix of a pass is stored in blocks of so many columns. */
const BLOCK = 8;

const count = ({height, width, channels}) => height * width * channels;

/** A matrix (rows, columns) times a factor per column, in blocks of BLOCK columns: (blocks, rows, BLOCK). */
function inBlocks(matrix, rows, factors, target) {
  const columns = factors.length;
  for (let column = 0; column < columns; column++) {
    const start = (column - (column % BLOCK)) * rows + (column % BLOCK);
    for (let row = 0; row < rows; row++) target[start + row * BLOCK] = matrix[row * columns + column] * factors[column];
  }
}

const blocksOf = (columns) => Math.ceil(columns / BLOCK);

// ---------------------------------------------------------------------------------------------------- linear layers

/** Zeros (before, after) around the input so that a strided convolution with padding `same` has size / stride pixels. */
function samePadding(size, kernel, stride) {
  const total = Math.max((Math.ceil(size / stride) - 1) * stride + kernel - size, 0);
  return [Math.floor(total / 2), total - Math.floor(total / 2)];
}

/** The kernel of a convolution, (kh, kw, in, out): one pass. */
function convolution(layer, input) {
  const [kh, kw, , channels] = layer.tensors.kernel.shape, {stride, padding} = layer;
  const [top, bottom] = padding === "same" ? samePadding(input.height, kh, stride) : [0, 0];
  const [left, right] = padding === "same" ? samePadding(input.width, kw, stride) : [0, 0];
  const height = Math.floor((input.height + top + bottom - kh) / stride) + 1;
  const width = Math.floor((input.width + left + right - kw) / stride) + 1;
  return {
    output: {height, width, channels},
    padding: [top, bottom, left, right],
    passes: [{y: 0, x: 0, kh, kw, stride, matrix: (kernel) => kernel, toY: 0, toX: 0, step: 1, height, width}],
  };
}

/** Which inputs one parity of a transposed convolution's outputs sums: tap i of the kernel meets input q + shift(i). */
function tapsOf(parity, kernel, stride) {
  const before = Math.floor((kernel - stride) / 2), taps = [];
  // Output 2q + parity = 2 · input − before + tap, so the input is q + (parity + before − tap) / stride.
  for (let tap = kernel - 1; tap >= 0; tap--) {
    if ((((parity + before - tap) % stride) + stride) % stride === 0) taps.push(tap);
  }
  return {taps, shift: (parity + before - taps[0]) / stride};
}

/** The matrices (units, inputs) at `starts`, each turned and one below the other: (starts × inputs, units). */
function gathered(kernel, units, inputs, starts) {
  const matrix = new Float32Array(starts.length * inputs * units);
  let at = 0;
  for (const start of starts) {
    for (let i = 0; i < inputs; i++) {
      for (let unit = 0; unit < units; unit++) matrix[at++] = kernel[start + unit * inputs + i];
    }
  }
  return matrix;
}

/** The kernel of a transposed convolution, (kh, kw, out, in): a pass for each parity of row and column. */
function transposed(layer, input) {
  const [kh, kw, channels, inputs] = layer.tensors.kernel.shape, {stride, padding} = layer;
  if (input.height * input.width === 1 && padding === "valid") {  // the stem: a matrix product
    const units = kh * kw * channels;
    const matrix = (kernel) => gathered(kernel, units, inputs, [0]);
    return {output: {height: kh, width: kw, channels}, ...product(matrix, units)};
  }
  if (padding !== "same" || kh < stride || kw < stride) throw new Error("a transposed convolution of another padding");
  const passes = [], edge = Math.ceil(Math.max(kh, kw) / stride);
  for (let toY = 0; toY < stride; toY++) {
    for (let toX = 0; toX < stride; toX++) {
      const rows = tapsOf(toY, kh, stride), columns = tapsOf(toX, kw, stride);
      const starts = rows.taps.flatMap((ky) => columns.taps.map((kx) => (ky * kw + kx) * channels * inputs));
      const matrix = (kernel) => gathered(kernel, channels, inputs, starts);
      passes.push({
        y: edge + rows.shift, x: edge + columns.shift, kh: rows.taps.length, kw: columns.taps.length, stride: 1, matrix,
        toY, toX, step: stride, height: input.height, width: input.width,
      });
    }
  }
  const output = {height: input.height * stride, width: input.width * stride, channels};
  return {output, padding: [edge, edge, edge, edge], passes};
}

/** A vector times a matrix (inputs, units): a pass at one pixel. */
function product(matrix, units) {
  const pass = {y: 0, x: 0, kh: 1, kw: 1, stride: 1, matrix, toY: 0, toX: 0, step: 1, height: 1, width: 1, units};
  return {padding: [0, 0, 0, 0], passes: [pass]};
}

/** The kernel of a dense layer, (inputs, units): a matrix product. */
function dense(layer) {
  const units = layer.tensors.kernel.shape[1];
  return {output: {height: 1, width: 1, channels: units}, ...product((kernel) => kernel, units)};
}

const LINEAR = {convolution, transposed, dense};

/** A bias for each channel, and a factor for each channel: the batch norm after the layer (null without one). */
function foldedNorm(norm, read) {
  const {scale, offset, mean, variance} = Object.fromEntries(
    Object.entries(norm.tensors).map(([name, place]) => [name, read(place)]));
  const factor = scale.map((value, i) => value / Math.sqrt(variance[i] + norm.epsilon));
  return {factor, bias: offset.map((value, i) => value - mean[i] * factor[i])};
}

/** A linear layer before its numbers are there: the shapes, the passes, and how many numbers it needs (`floats`). */
function linearPlan(layer, input) {
  const plan = LINEAR[layer.kind](layer, input), [top, bottom, left, right] = plan.padding;
  const padded = {height: input.height + top + bottom, width: input.width + left + right, channels: input.channels};
  const units = plan.passes[0].units || plan.output.channels, columns = blocksOf(units) * BLOCK;
  const depths = plan.passes.map(({kh, kw}) => kh * kw * input.channels);
  const sizes = [count(padded), count(plan.output), columns, ...depths.map((depth) => depth * columns)];
  const floats = sizes.reduce((sum, size) => sum + Math.ceil(size / 4) * 4, 0);  // each starts at a vector
  return {...plan, input, padded, units, depths, floats};
}

/** A linear layer as a step. `norm`: the batch norm that it includes, or null. */
function linearStep(layer, norm, plan, read, arena) {
  const {input, output, padded, units, depths, padding: [top, , left]} = plan;
  const kernel = read(layer.tensors.kernel), folded = norm && foldedNorm(norm, read);
  const own = layer.tensors.bias ? read(layer.tensors.bias) : new Float32Array(units);
  // A dense stem has a unit for each pixel and channel, and the norm after it has a channel's values.
  const factors = Float32Array.from({length: units}, (_, i) => (folded ? folded.factor[i % folded.factor.length] : 1));
  const bias = arena.floats(blocksOf(units) * BLOCK);
  for (let i = 0; i < units; i++) bias[i] = own[i] * factors[i] + (folded ? folded.bias[i % folded.bias.length] : 0);
  const source = arena.floats(count(padded)), target = arena.floats(count(output));
  const line = padded.width * input.channels;
  const calls = plan.passes.map((pass, index) => {
    const weights = arena.floats(depths[index] * blocksOf(units) * BLOCK);
    inBlocks(pass.matrix(kernel), depths[index], factors, weights);
    return {
      source, weights, bias, target, units,
      from: pass.y * line + pass.x * input.channels, to: (pass.toY * output.width + pass.toX) * units,
      rows: pass.height, pixels: pass.width,
      fromRow: pass.stride * line, fromPixel: pass.stride * input.channels,
      toRow: pass.step * output.width * units, toPixel: pass.step * units,
      segments: pass.kh, segmentStep: line, length: pass.kw * input.channels,
    };
  });
  const run = (data) => {
    const row = input.width * input.channels;
    for (let y = 0; y < input.height; y++) {
      source.set(data.subarray(y * row, (y + 1) * row), (y + top) * line + left * input.channels);
    }
    for (const call of calls) arena.pass(call);
    return target;
  };
  return {output, run};
}

// ----------------------------------------------------------------------------------------------------- other layers

/** A layer whose output has the shape of its input: `values(data, out)` fills `out`. */
const same = (input, values) => {
  const out = new Float32Array(count(input));
  return {output: input, run: (data) => (values(data, out), out)};
};
const elementwise = (f) => (layer, input) => same(input, (data, out) => {
  for (let i = 0; i < out.length; i++) out[i] = f(data[i], layer);
});

function reshape(layer, input) {
  const [height, width, channels] = [1, 1, ...layer.shape].slice(-3);
  if (height * width * channels !== count(input)) throw new Error(`${layer.name}: expected another size`);
  return {output: {height, width, channels}, run: (data) => data};
}

function zeros(layer, {height, width, channels}) {
  const {stride, kernel_size: side} = layer, before = side - 1 - Math.floor((side - stride) / 2);
  const output = {height: height * stride + side - 1, width: width * stride + side - 1, channels};
  const out = new Float32Array(count(output));
  return {output, run: (data) => {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const from = (y * width + x) * channels;
        out.set(data.subarray(from, from + channels),
          ((y * stride + before) * output.width + x * stride + before) * channels);
      }
    }
    return out;
  }};
}

function nearest({factor}, {height, width, channels}) {
  const output = {height: height * factor, width: width * factor, channels};
  const out = new Float32Array(count(output));
  return {output, run: (data) => {
    for (let y = 0; y < output.height; y++) {
      for (let x = 0; x < output.width; x++) {
        const from = (Math.floor(y / factor) * width + Math.floor(x / factor)) * channels;
        out.set(data.subarray(from, from + channels), (y * output.width + x) * channels);
      }
    }
    return out;
  }};
}

function batchNorm(layer, input, read) {
  const {factor, bias} = foldedNorm(layer, read), {channels} = input;
  return same(input, (data, out) => {
    for (let i = 0; i < out.length; i++) out[i] = data[i] * factor[i % channels] + bias[i % channels];
  });
}

/** Ba et al. 2016, with the mean and the variance over height, width and channels of an image. */
function layerNorm(layer, input, read) {
  const scale = read(layer.tensors.scale), offset = read(layer.tensors.offset), {channels} = input;
  return same(input, (data, out) => {
    let mean = 0, variance = 0;
    for (const value of data) mean += value / out.length;
    for (const value of data) variance += (value - mean) ** 2 / out.length;
    const factor = 1 / Math.sqrt(variance + layer.epsilon);
    for (let i = 0; i < out.length; i++) {
      out[i] = (data[i] - mean) * factor * scale[i % channels] + offset[i % channels];
    }
  });
}

function maxout({pieces}, input) {
  const output = {...input, channels: input.channels / pieces}, out = new Float32Array(count(output));
  return {output, run: (data) => {
    for (let i = 0; i < out.length; i++) {
      let largest = data[i * pieces];
      for (let piece = 1; piece < pieces; piece++) largest = Math.max(largest, data[i * pieces + piece]);
      out[i] = largest;
    }
    return out;
  }};
}

/** Global average pooling: the mean of each channel. */
function mean(layer, {height, width, channels}) {
  const out = new Float32Array(channels), pixels = height * width;
  return {output: {height: 1, width: 1, channels}, run: (data) => {
    for (let channel = 0; channel < channels; channel++) {
      let sum = 0;
      for (let i = channel; i < data.length; i += channels) sum += data[i];
      out[channel] = sum / pixels;
    }
    return out;
  }};
}

const OTHERS = {
  reshape, zeros, nearest, maxout, mean,
  input: (layer, input) => ({output: input, run: (data) => data}),
  batch_norm: batchNorm,
  layer_norm: layerNorm,
  relu: elementwise((x) => (x > 0 ? x : 0)),
  leaky_relu: elementwise((x, {slope}) => (x > 0 ? x : slope * x)),
  elu: elementwise((x) => (x > 0 ? x : Math.expm1(x))),
  tanh: elementwise((x) => Math.tanh(x)),
};

// -------------------------------------------------------------------------------------------------------- networks

/** The index of the batch norm that the linear layer at `index` can include: the next layer, but for a reshape; else -1. */
function normAfter(layers, index) {
  const next = layers[index + 1]?.kind === "reshape" ? index + 2 : index + 1;
  return layers[next]?.kind === "batch_norm" ? next : -1;
}

/** The shape of a network's input, as an image: (latent_dim,) is (1, 1, latent_dim). */
function inputShape(network) {
  const [height, width, channels] = [1, 1, ...network.input].slice(-3);
  return {height, width, channels};
}

/**
 * The steps of a network, [{layer, output, run}], in order.
 *
 * Without options, every layer is a step. `folded`: a batch norm is part of the layer before it, which is faster.
 * `norms`: false leaves every batch norm out. `backend`: see plain.js.
 */
function steps(network, read, backend, {folded = false, norms = true} = {}) {
  const {layers} = network, included = new Set(), all = [];
  let shape = inputShape(network), floats = 0;
  layers.forEach((layer, index) => {
    if (included.has(index) || (!norms && layer.kind === "batch_norm")) return;
    if (layer.kind in LINEAR) {
      const norm = folded ? normAfter(layers, index) : -1;
      included.add(norm);
      all.push({layer, norm: layers[norm] || null, ...linearPlan(layer, shape)});
      floats += all[all.length - 1].floats;
    } else if (layer.kind in OTHERS) {
      all.push({layer, ...OTHERS[layer.kind](layer, shape, read)});
    } else {
      throw new Error(`${layer.name}: unknown kind of layer ${layer.kind}`);
    }
    shape = all[all.length - 1].output;
  });
  const arena = backend(floats);
  return all.map((step) =>
    (step.run ? step : {layer: step.layer, ...linearStep(step.layer, step.norm, step, read, arena)}));
}

/** The outputs of a network for n inputs, one after another: (n × inputs) => (n × outputs). */
function outputs(all, network, inputs) {
  const size = count(inputShape(network)), {output} = all[all.length - 1], n = inputs.length / size;
  if (!Number.isInteger(n)) throw new Error(`expected inputs of ${size} numbers each, got ${inputs.length} numbers`);
  const results = new Float32Array(n * count(output));
  for (let i = 0; i < n; i++) {
    let data = inputs.subarray(i * size, (i + 1) * size);
    for (const step of all) data = step.run(data);
    results.set(data, i * count(output));
  }
  return results;
}
