// The kernel in WebAssembly, four numbers at a time (SIMD). The module is assembled here, byte by byte, so that the
// page needs no compiler, and so that the inner loop is unrolled by a loop of JavaScript.
// Opcodes: WebAssembly Core Specification 2.0 and 3.0, "Binary Format, Instructions".

/** Pixels that the inner loop computes at a time: 4 × 2 vectors of sums fit into 16 registers with their operands. */
const TILE = 4;
const FLOAT = 4, VECTOR = 16;  // bytes

/** An unsigned number in LEB128. */
function leb(value) {
  const bytes = [];
  do {
    bytes.push((value & 127) | (value > 127 ? 128 : 0));
    value >>>= 7;
  } while (value);
  return bytes;
}

/** A signed number in LEB128. */
function signedLeb(value) {
  const bytes = [];
  for (;;) {
    const low = value & 127;
    value >>= 7;
    if ((value === 0 && !(low & 64)) || (value === -1 && low & 64)) return [...bytes, low];
    bytes.push(low | 128);
  }
}

// An instruction is an array of bytes, possibly nested; its operands come first.
const get = (local) => [0x20, leb(local)];
const set = (local, value) => [value, 0x21, leb(local)];
const number = (value) => [0x41, signedLeb(value)];
const add = (a, b) => [a, b, 0x6a];
const subtract = (a, b) => [a, b, 0x6b];
const multiply = (a, b) => [a, b, 0x6c];
const less = (a, b) => [a, b, 0x48];  // signed
const notZero = (a) => [a, 0x45, 0x45];
const advance = (local, bytes) => set(local, add(get(local), bytes));
const when = (condition, body, otherwise = []) =>
  [condition, 0x04, 0x40, body, otherwise.length ? [0x05, otherwise] : [], 0x0b];
/** Run the body, and again as long as the condition holds. */
const repeat = (body, condition) => [0x03, 0x40, body, condition, 0x0d, 0, 0x0b];
/** Run the body as long as the condition holds. */
const whilst = (condition, body) => when(condition, repeat(body, condition));
const vectorAt = (address, offset) => [address, 0xfd, 0, 0, leb(offset)];
const copiesOf = (address, offset) => [address, 0xfd, 9, 0, leb(offset)];  // one float in all four lanes
const storeVector = (address, offset, value) => [address, value, 0xfd, 11, 0, leb(offset)];
const storeLane = (address, offset, value, lane) => [address, value, 0xfd, 0x1f, lane, 0x38, 0, leb(offset)];
const sumOfProduct = (a, b, sum) => [sum, a, b, 0xfd, 0xe6, 1, 0xfd, 0xe4, 1];
const fusedSumOfProduct = (a, b, sum) => [a, b, sum, 0xfd, 0x85, 2];  // relaxed SIMD: one instruction on most machines

const section = (id, content) => {
  const bytes = content.flat(Infinity);
  return [id, leb(bytes.length), bytes];
};
const text = (name) => [leb(name.length), [...name].map((letter) => letter.charCodeAt(0))];

/** The parameters of the kernel, in order. All are 32-bit integers; addresses and steps are in bytes. */
const PARAMETERS = ["source", "weights", "bias", "target", "units", "rows", "pixels", "fromRow", "fromPixel", "toRow",
  "toPixel", "segments", "segmentStep", "length"];

/** The module: it imports the memory `m.m` and exports the kernel `pass`. `fused`: with relaxed SIMD. */
function assembledModule(fused) {
  const locals = PARAMETERS.length, names = ["fromLine", "toLine", "row", "from", "to", "pixel", "w", "segment", "start", "end"];
  const index = Object.fromEntries([...PARAMETERS, ...names].map((name, i) => [name, i]));
  const L = (name) => get(index[name]);
  const pointer = (pixel) => locals + names.length + pixel;
  const sums = (pixel, vector) => locals + names.length + TILE + pixel * 2 + vector;
  const weight = (vector) => locals + names.length + TILE + TILE * 2 + vector;
  const value = weight(2), product = fused ? fusedSumOfProduct : sumOfProduct;
  const range = (length) => Array.from({length}, (_, i) => i);

  /** `depth` numbers of each pixel's window, times `depth` rows of the block of weights. */
  const products = (pixels, depth) => [
    range(depth).map((i) => [
      range(2).map((vector) => set(weight(vector), vectorAt(L("w"), (2 * i + vector) * VECTOR))),
      range(pixels).map((pixel) => [
        set(value, copiesOf(get(pointer(pixel)), i * FLOAT)),
        range(2).map((vector) =>
          set(sums(pixel, vector), product(get(value), get(weight(vector)), get(sums(pixel, vector))))),
      ]),
    ]),
    range(pixels).map((pixel) => advance(pointer(pixel), number(depth * FLOAT))),
    advance(index.w, number(depth * 2 * VECTOR)),
  ];
  const store = (pixel) => when(
    less(L("units"), number(BLOCK)),
    range(BLOCK).map((lane) => when(
      less(number(lane), L("units")),
      storeLane(L("to"), lane * FLOAT, get(sums(pixel, lane >> 2)), lane & 3))),
    range(2).map((vector) => storeVector(L("to"), vector * VECTOR, get(sums(pixel, vector)))),
  );
  /** The next pixels of the line, all BLOCK channels of them. */
  const tile = (pixels) => [
    range(pixels).map((pixel) => range(2).map((vector) =>
      set(sums(pixel, vector), vectorAt(L("bias"), vector * VECTOR)))),
    set(index.w, L("weights")), set(index.start, L("from")), set(index.segment, L("segments")),
    repeat([
      range(pixels).map((pixel) =>
        set(pointer(pixel), pixel ? add(get(pointer(pixel - 1)), L("fromPixel")) : L("start"))),
      set(index.end, add(L("start"), L("length"))),
      whilst(less(add(get(pointer(0)), number(4 * FLOAT - 1)), L("end")), products(pixels, 4)),
      whilst(less(get(pointer(0)), L("end")), products(pixels, 1)),
      advance(index.start, L("segmentStep")),
      advance(index.segment, number(-1)),
    ], notZero(L("segment"))),
    range(pixels).map((pixel) => [store(pixel), advance(index.to, L("toPixel"))]),
    advance(index.from, multiply(number(pixels), L("fromPixel"))),
    advance(index.pixel, number(-pixels)),
  ];
  const body = [
    repeat([
      set(index.fromLine, L("source")), set(index.toLine, L("target")), set(index.row, L("rows")),
      repeat([
        set(index.from, L("fromLine")), set(index.to, L("toLine")), set(index.pixel, L("pixels")),
        whilst(less(number(TILE - 1), L("pixel")), tile(TILE)),
        whilst(notZero(L("pixel")), tile(1)),
        advance(index.fromLine, L("fromRow")),
        advance(index.toLine, L("toRow")),
        advance(index.row, number(-1)),
      ], notZero(L("row"))),
      advance(index.weights, multiply(multiply(L("segments"), L("length")), number(BLOCK))),
      advance(index.bias, number(BLOCK * FLOAT)),
      advance(index.target, number(BLOCK * FLOAT)),
      advance(index.units, number(-BLOCK)),
    ], less(number(0), L("units"))),
    0x0b,
  ];
  const declared = [2, leb(names.length + TILE), 0x7f, leb(TILE * 2 + 3), 0x7b];
  const code = [declared, body].flat(Infinity);
  return Uint8Array.from([
    [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    section(1, [1, 0x60, leb(PARAMETERS.length), PARAMETERS.map(() => 0x7f), 0]),
    section(2, [1, text("m"), text("m"), 2, 0, 1]),
    section(3, [1, 0]),
    section(7, [1, text("pass"), 0, 0]),
    section(10, [1, leb(code.length), code]),
  ].flat(Infinity));
}

/** The compiled kernel, or null if this browser has no WebAssembly with SIMD, or forbids it. */
function compiledKernel() {
  if (typeof WebAssembly !== "object") return null;
  const bytes = [true, false].map(assembledModule).find((module) => WebAssembly.validate(module));
  try {
    return bytes ? new WebAssembly.Module(bytes) : null;
  } catch {
    return null;  // the content policy of a site that holds the page
  }
}

/** A backend (plain.js) whose numbers are in the memory of a WebAssembly module. */
function assembledBackend(kernel) {
  return (length) => {
    const memory = new WebAssembly.Memory({initial: Math.ceil((length * FLOAT) / 65536) + 1});
    const {pass} = new WebAssembly.Instance(kernel, {m: {m: memory}}).exports;
    let used = 0;
    return {
      floats(size) {
        const start = used;
        used += Math.ceil((size * FLOAT) / VECTOR) * VECTOR;
        return new Float32Array(memory.buffer, start, size);
      },
      pass(call) {
        pass(call.source.byteOffset + call.from * FLOAT, call.weights.byteOffset, call.bias.byteOffset,
          call.target.byteOffset + call.to * FLOAT, call.units, call.rows, call.pixels, call.fromRow * FLOAT,
          call.fromPixel * FLOAT, call.toRow * FLOAT, call.toPixel * FLOAT, call.segments, call.segmentStep * FLOAT,
          call.length * FLOAT);
      },
    };
  };
}
