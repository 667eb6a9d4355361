// The stored tensors: base64 => bytes, float16 => float32.

/** The bytes of base64 text. */
function bytesOf(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** The float32 value of every float16 bit pattern (IEEE 754): 5 bits of exponent, 10 of fraction. */
function halfTable() {
  const table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31, fraction = bits & 1023;
    let value = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : (fraction / 1024) * 2 ** -14;
    if (exponent === 31) value = fraction ? NaN : Infinity;
    table[bits] = bits >> 15 ? -value : value;
  }
  return table;
}

/**
 * The values of stored tensors (stages/play/packing.py), each read when it is asked for.
 * A reader is a function: place {offset, shape, half, factor} => Float32Array.
 */
function tensorReader(text) {
  const {buffer} = bytesOf(text);
  const halves = halfTable();
  return ({offset, shape, half, factor}) => {
    const length = shape.reduce((product, side) => product * side, 1);
    if (offset + length * (half ? 2 : 4) > buffer.byteLength) throw new Error("the stored weights are incomplete");
    if (!half) return new Float32Array(buffer, offset, length);
    const stored = new Uint16Array(buffer, offset, length), values = new Float32Array(length);
    for (let i = 0; i < length; i++) values[i] = halves[stored[i]] * factor;
    return values;
  };
}
