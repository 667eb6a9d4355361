// A network: the layers of stages/play/packing.py as steps. A step maps images (height, width, channels) to one.
//
// Convolutions, transposed convolutions and dense layers are sums of `passes`. A pass is what a kernel (plain.js,
// assembled.js) computes: at every pixel of a grid, the products of a window of the padded input with a matrix.
// What doubles the sides is four passes, one for each parity of row and column: each is a convolution with those
// weights that do not meet an inserted zero (Dumoulin, Visin 2016, arXiv:1603.07285, section 4).

/** Channels that a kernel computes at a time. The matrix of a pass is stored in blocks of so many columns. */
const BLOCK = 8;

const count = ({height, width, channels}) => height * width * channels;
const blocksOf = (columns) => Math.ceil(columns / BLOCK);

/** A shape in Keras, without N, as an image: (100,) is (1, 1, 100). */
function imageShape(shape) {
  const [height, width, channels] = [1, 1, ...shape].slice(-3);
  return {height, width, channels};
}

// ---------------------------------------------------------------------------------------------------- linear layers

/** Zeros (before, after) around the input so that a strided convolution with padding `same` has size / stride pixels. */
function samePadding(size, kernel, stride) {
  const total = Math.max((Math.ceil(size / stride) - 1) * stride + kernel - size, 0);
  return [Math.floor(total / 2), total - Math.floor(total / 2)];
}

/** A convolution, whose kernel is (kh, kw, in, out): one pass. */
function convolution(layer, input) {
  const [kh, kw, inputs, channels] = layer.tensors.kernel.shape, {stride, padding} = layer;
  const [top, bottom] = padding === "same" ? samePadding(input.height, kh, stride) : [0, 0];
  const [left, right] = padding === "same" ? samePadding(input.width, kw, stride) : [0, 0];
  const height = Math.floor((input.height + top + bottom - kh) / stride) + 1;
  const width = Math.floor((input.width + left + right - kw) / stride) + 1;
  const rows = kh * kw * inputs;
  return {
    output: {height, width, channels},
    padding: [top, bottom, left, right],
    passes: [{y: 0, x: 0, kh, kw, stride, rows, matrix: (kernel) => kernel, toY: 0, toX: 0, step: 1, height, width}],
  };
}

/** A matrix product of a vector, as a pass at one pixel. `matrix` turns the kernel into (inputs, units). */
function product(inputs, units, output, matrix) {
  const pass = {y: 0, x: 0, kh: 1, kw: 1, stride: 1, rows: inputs, matrix, toY: 0, toX: 0, step: 1, height: 1, width: 1};
  return {output, units, padding: [0, 0, 0, 0], passes: [pass]};
}

/** A dense layer, whose kernel is (inputs, units). */
function dense(layer) {
  const [inputs, units] = layer.tensors.kernel.shape;
  return product(inputs, units, {height: 1, width: 1, channels: units}, (kernel) => kernel);
}

/**
 * A layer that enlarges its input `stride` times: a pass for each parity of row and column.
 *
 * `shift(parity, tap, side)`: output stride · q + parity is a sum over the taps of the kernel, and a tap meets the input
 * q + shift; null if it meets an inserted zero. `weight(kernel, tap)`: where the tap's matrix begins in the kernel, and
 * the steps between its inputs and between its outputs.
 */
function enlarging(input, stride, [kh, kw], inputs, channels, shift, steps) {
  const axis = (parity, side) => {
    const taps = Array.from({length: side}, (_, tap) => ({tap, shift: shift(parity, tap, side)}));
    const met = taps.filter((tap) => tap.shift !== null);
    const first = Math.min(...met.map((tap) => tap.shift)), last = Math.max(...met.map((tap) => tap.shift));
    return {first, length: last - first + 1, met};
  };
  const edge = Math.max(kh, kw), passes = [];
  for (let toY = 0; toY < stride; toY++) {
    for (let toX = 0; toX < stride; toX++) {
      const down = axis(toY, kh), along = axis(toX, kw), rows = down.length * along.length * inputs;
      const matrix = (kernel) => {
        const sums = new Float32Array(rows * channels);
        for (const y of down.met) {
          for (const x of along.met) {
            const from = (y.tap * kw + x.tap) * inputs * channels;
            const to = ((y.shift - down.first) * along.length + x.shift - along.first) * inputs * channels;
            for (let i = 0; i < inputs; i++) {
              for (let o = 0; o < channels; o++) {
                sums[to + i * channels + o] += kernel[from + i * steps[0] + o * steps[1]];
              }
            }
          }
        }
        return sums;
      };
      passes.push({
        y: edge + down.first, x: edge + along.first, kh: down.length, kw: along.length, stride: 1, rows, matrix,
        toY, toX, step: stride, height: input.height, width: input.width,
      });
    }
  }
  const output = {height: input.height * stride, width: input.width * stride, channels};
  return {output, padding: [edge, edge, edge, edge], passes};
}

/** A quotient that is a whole number, else null. */
const whole = (a, b) => (a % b === 0 ? a / b : null);

/** A transposed convolution, whose kernel is (kh, kw, out, in). */
function transposed(layer, input) {
  const [kh, kw, channels, inputs] = layer.tensors.kernel.shape, {stride, padding} = layer;
  if (input.height * input.width === 1 && padding === "valid") {  // the stem: a matrix product
    const units = kh * kw * channels;
    return product(inputs, units, {height: kh, width: kw, channels}, (kernel) => {
      const matrix = new Float32Array(kernel.length);
      for (let i = 0; i < inputs; i++) {
        for (let unit = 0; unit < units; unit++) matrix[i * units + unit] = kernel[unit * inputs + i];
      }
      return matrix;
    });
  }
  if (padding !== "same") throw new Error(`${layer.name}: unknown padding ${padding}`);
  // Keras cuts off kernel − stride pixels of the full result, the smaller half first.
  const shift = (parity, tap, side) => whole(parity + Math.floor((side - stride) / 2) - tap, stride);
  return enlarging(input, stride, [kh, kw], inputs, channels, shift, [1, inputs]);
}

/** A convolution after inserted zeros: the zeros are not computed with. */
function convolutionOfZeros(layer, input, {stride, before}) {
  const [kh, kw, inputs, channels] = layer.tensors.kernel.shape;
  const shift = (parity, tap) => whole(parity + tap - before, stride);
  return enlarging(input, stride, [kh, kw], inputs, channels, shift, [channels, 1]);
}

/** A convolution after nearest-neighbour up-sampling: taps that meet the same input are added up first. */
function convolutionOfNearest(layer, input, {factor}) {
  const [kh, kw, inputs, channels] = layer.tensors.kernel.shape;
  const shift = (parity, tap, side) => Math.floor((parity + tap - Math.floor((side - 1) / 2)) / factor);
  return enlarging(input, factor, [kh, kw], inputs, channels, shift, [channels, 1]);
}

const LINEAR = {convolution, transposed, dense};
const AFTER = {zeros: convolutionOfZeros, nearest: convolutionOfNearest};

/** A batch norm in inference as a factor and an offset for each channel. */
function factors(norm, read) {
  const {scale, offset, mean, variance} = Object.fromEntries(
    Object.entries(norm.tensors).map(([name, place]) => [name, read(place)]));
  const factor = scale.map((value, i) => value / Math.sqrt(variance[i] + norm.epsilon));
  return {factor, offset: offset.map((value, i) => value - mean[i] * factor[i])};
}

/** A linear layer before its numbers are there: the shapes, the passes, and how many numbers it needs (`floats`). */
function linearPlan({layer, enlarged}, input) {
  const plan = enlarged ? AFTER[enlarged.kind](layer, input, enlarged) : LINEAR[layer.kind](layer, input);
  const [top, bottom, left, right] = plan.padding;
  const padded = {height: input.height + top + bottom, width: input.width + left + right, channels: input.channels};
  const units = plan.units || plan.output.channels, columns = blocksOf(units) * BLOCK;
  const sizes = [count(padded), count(plan.output), columns, ...plan.passes.map(({rows}) => rows * columns)];
  const floats = sizes.reduce((sum, size) => sum + Math.ceil(size / 4) * 4, 0);  // each starts at a vector
  return {...plan, padded, units, floats};
}

/** A matrix (rows, columns) times a factor for each column, in blocks of BLOCK columns: (blocks, rows, BLOCK). */
function inBlocks(matrix, rows, factor, target) {
  const columns = factor.length;
  for (let row = 0, from = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, from++) {
      const lane = column % BLOCK;
      target[(column - lane) * rows + row * BLOCK + lane] = matrix[from] * factor[column];
    }
  }
}

/** A linear layer with its numbers: a function image => image. `norm`: the batch norm that it includes, or undefined. */
function linearRun({layer, norm}, input, plan, read, arena) {
  const {output, padded, units, padding: [top, , left]} = plan;
  const kernel = read(layer.tensors.kernel), own = layer.tensors.bias && read(layer.tensors.bias);
  const bias = arena.floats(blocksOf(units) * BLOCK), factor = new Float32Array(units).fill(1);
  const folded = norm && factors(norm, read);
  for (let unit = 0; unit < units; unit++) {
    // The stem has a unit for each pixel and channel, and the bias and the norm have a number for each channel.
    if (own) bias[unit] = own[unit % own.length];
    if (folded) {
      const channel = unit % folded.factor.length;
      factor[unit] = folded.factor[channel];
      bias[unit] = bias[unit] * factor[unit] + folded.offset[channel];
    }
  }
  const source = arena.floats(count(padded)), target = arena.floats(count(output));
  const line = padded.width * input.channels, row = input.width * input.channels;
  const calls = plan.passes.map((pass) => {
    const weights = arena.floats(pass.rows * blocksOf(units) * BLOCK);
    inBlocks(pass.matrix(kernel), pass.rows, factor, weights);
    return {
      source, weights, bias, target, units,
      from: pass.y * line + pass.x * input.channels, to: (pass.toY * output.width + pass.toX) * units,
      rows: pass.height, pixels: pass.width,
      fromRow: pass.stride * line, fromPixel: pass.stride * input.channels,
      toRow: pass.step * output.width * units, toPixel: pass.step * units,
      segments: pass.kh, segmentStep: line, length: pass.kw * input.channels,
    };
  });
  return (data) => {
    for (let y = 0; y < input.height; y++) {
      source.set(data.subarray(y * row, (y + 1) * row), (y + top) * line + left * input.channels);
    }
    for (const call of calls) arena.pass(call);
    return target;
  };
}

// ----------------------------------------------------------------------------------------------------- other layers
// A function of the layer, the shapes of its inputs and the reader of tensors. It returns the shape of the output, and
// a function of the inputs' numbers. The result is overwritten by the next call.

/** A layer whose output has the shape of its input: `fill(data, out)` computes it. */
const same = (shape, fill) => {
  const out = new Float32Array(count(shape));
  return {output: shape, run: (data) => (fill(data, out), out)};
};
const elementwise = (f) => (layer, [shape]) => same(shape, (data, out) => {
  for (let i = 0; i < out.length; i++) out[i] = f(data[i], layer);
});

const identity = (layer, [shape]) => ({output: shape, run: (data) => data});

function reshape(layer, [shape]) {
  const output = imageShape(layer.shape);
  if (count(output) !== count(shape)) throw new Error(`${layer.name}: expected another size`);
  return {output, run: (data) => data};
}

function zeros({stride, before, after}, [{height, width, channels}]) {
  const side = (length) => (length - 1) * stride + 1 + before + after;
  const output = {height: side(height), width: side(width), channels}, out = new Float32Array(count(output));
  return {output, run: (data) => {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const from = (y * width + x) * channels, to = (y * stride + before) * output.width + x * stride + before;
        out.set(data.subarray(from, from + channels), to * channels);
      }
    }
    return out;
  }};
}

function nearest({factor}, [{height, width, channels}]) {
  const output = {height: height * factor, width: width * factor, channels}, out = new Float32Array(count(output));
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

function batchNorm(layer, [shape], read) {
  const {factor, offset} = factors(layer, read), {channels} = shape;
  return same(shape, (data, out) => {
    for (let i = 0; i < out.length; i++) out[i] = data[i] * factor[i % channels] + offset[i % channels];
  });
}

/** Ba et al. 2016, with the mean and the variance over height, width and channels of an image. */
function layerNorm(layer, [shape], read) {
  const scale = read(layer.tensors.scale), offset = read(layer.tensors.offset), {channels} = shape;
  return same(shape, (data, out) => {
    let mean = 0, variance = 0;
    for (const value of data) mean += value / out.length;
    for (const value of data) variance += (value - mean) ** 2 / out.length;
    const factor = 1 / Math.sqrt(variance + layer.epsilon);
    for (let i = 0; i < out.length; i++) {
      out[i] = (data[i] - mean) * factor * scale[i % channels] + offset[i % channels];
    }
  });
}

function maxout({pieces}, [shape]) {
  const output = {...shape, channels: shape.channels / pieces}, out = new Float32Array(count(output));
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
function mean(layer, [{height, width, channels}]) {
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

/** Vectors, one after another. */
function concatenate(layer, shapes) {
  const channels = shapes.reduce((sum, shape) => sum + shape.channels, 0), out = new Float32Array(channels);
  return {output: {height: 1, width: 1, channels}, run: (...vectors) => {
    let at = 0;
    for (const vector of vectors) {
      out.set(vector, at);
      at += vector.length;
    }
    return out;
  }};
}

/** An image and an image, or an image and a number for each channel. */
const joined = (f) => (layer, [shape]) => {
  const out = new Float32Array(count(shape));
  return {output: shape, run: (a, b) => {
    for (let i = 0; i < out.length; i++) out[i] = f(a[i], b[i % b.length]);
    return out;
  }};
};

/** The scalar product of two vectors. */
function dot() {
  const out = new Float32Array(1);
  return {output: imageShape([1]), run: (a, b) => {
    out[0] = a.reduce((sum, value, i) => sum + value * b[i], 0);
    return out;
  }};
}

const OTHERS = {
  reshape, zeros, nearest, maxout, mean, concatenate, dot,
  batch_norm: batchNorm,
  layer_norm: layerNorm,
  add: joined((a, b) => a + b),
  multiply: joined((a, b) => a * b),
  relu: elementwise((x) => (x > 0 ? x : 0)),
  leaky_relu: elementwise((x, {slope}) => (x > 0 ? x : slope * x)),
  elu: elementwise((x) => (x > 0 ? x : Math.expm1(x))),
  tanh: elementwise((x) => Math.tanh(x)),
};

// -------------------------------------------------------------------------------------------------------- networks

/**
 * Which layers are computed together: [{layer, index, from}], in order. A linear layer can include `enlarged`, the layer
 * before it that up-samples, and `norm`, the batch norm after it. `index` is that of the result, `from` those of the inputs.
 */
function groups({layers, output}, folded) {
  const users = layers.map(() => []);
  layers.forEach((layer, index) => layer.from.forEach((from) => users[from].push(index)));
  /** The only layer that uses the result of `index`, if it is of this kind; else -1. */
  const next = (index, kind) => {
    const [user, ...others] = users[index];
    return folded && index !== output && !others.length && layers[user]?.kind === kind ? user : -1;
  };
  const done = new Set(), all = [];
  layers.forEach((layer, index) => {
    if (done.has(index)) return;
    const group = {layer, index, from: layer.from};
    if (layer.kind in AFTER && next(index, "convolution") >= 0) {
      group.enlarged = layer;
      group.index = next(index, "convolution");
      group.layer = layers[group.index];
      done.add(group.index);
    }
    if (group.layer.kind in LINEAR) {
      const reshaped = next(group.index, "reshape"), norm = next(reshaped < 0 ? group.index : reshaped, "batch_norm");
      if (norm >= 0) {
        group.norm = layers[norm];
        group.reshaped = layers[reshaped];
        group.index = norm;
        done.add(reshaped).add(norm);
      }
    }
    all.push(group);
  });
  return all;
}

/**
 * A network that is ready to run: {inputs, output, run}, the shapes of its inputs and of its output, and a function of the
 * inputs' numbers that returns the numbers of every layer's output, by index.
 *
 * `folded`: layers that can be computed together are, which is faster; the layers inside a group then have no output.
 * `norms`: without, a batch norm returns its input. `backend`: see plain.js. `read`: see tensors.js.
 */
function ready(network, read, backend, {folded = false, norms = true} = {}) {
  const shapes = [];
  const inputs = network.inputs.map(imageShape);
  const steps = groups(network, folded).map((group) => {
    const {layer, index, from} = group, of = from.map((i) => shapes[i]);
    let step;
    if (layer.kind === "input") step = {output: inputs[layer.input]};
    else if (layer.kind in LINEAR) step = {plan: linearPlan(group, of[0])};
    else if (!(layer.kind in OTHERS)) throw new Error(`${layer.name}: unknown kind of layer ${layer.kind}`);
    else step = (layer.kind === "batch_norm" && !norms ? identity : OTHERS[layer.kind])(layer, of, read);
    shapes[index] = step.output || (group.reshaped ? imageShape(group.reshaped.shape) : step.plan.output);
    return {...step, group, input: of[0]};
  });
  const arena = backend(steps.reduce((sum, {plan}) => sum + (plan ? plan.floats : 0), 0));
  const runs = steps.map(({group, input, plan, run}) =>
    ({...group, run: plan ? linearRun(group, input, plan, read, arena) : run}));
  return {
    inputs,
    shapes,
    output: shapes[network.output],
    run: (given) => {
      const results = [];
      for (const {layer, index, from, run} of runs) {
        results[index] = layer.kind === "input" ? given[layer.input] : run(...from.map((i) => results[i]));
      }
      return results;
    },
  };
}

/** The outputs for n inputs, one after another. `given`: for each input of the network, (n × its numbers). */
function outputs(network, prepared, given) {
  const sizes = prepared.inputs.map(count), size = count(prepared.output), n = given[0].length / sizes[0];
  sizes.forEach((expected, i) => {
    const length = given[i]?.length ?? 0;
    if (!Number.isInteger(n) || length !== n * expected) {
      throw new Error(`expected ${expected} numbers for each sample, got ${length} for ${n}`);
    }
  });
  const results = new Float32Array(n * size);
  for (let i = 0; i < n; i++) {
    const one = given.map((values, input) => values.subarray(i * sizes[input], (i + 1) * sizes[input]));
    results.set(prepared.run(one)[network.output], i * size);
  }
  return results;
}
