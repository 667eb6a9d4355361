// The kernel in plain JavaScript, for browsers without WebAssembly.

/**
 * A backend: a function that returns memory for so many numbers. `floats` allocates some of them, filled with zeros, and
 * `pass` computes a pass (network.js).
 */
function plainBackend() {
  return {floats: (length) => new Float32Array(length), pass: plainPass};
}

/** For each pixel and each block of BLOCK channels: bias + the sum over segments and their numbers. */
function plainPass(call) {
  const {source, weights, bias, target, units, rows, pixels, segments, length} = call;
  const depth = segments * length;
  for (let block = 0; block * BLOCK < units; block++) {
    const first = block * BLOCK, last = Math.min(BLOCK, units - first);
    for (let row = 0; row < rows; row++) {
      for (let pixel = 0; pixel < pixels; pixel++) {
        let s0 = bias[first], s1 = bias[first + 1], s2 = bias[first + 2], s3 = bias[first + 3];
        let s4 = bias[first + 4], s5 = bias[first + 5], s6 = bias[first + 6], s7 = bias[first + 7];
        let w = first * depth;
        for (let segment = 0; segment < segments; segment++) {
          const start = call.from + row * call.fromRow + pixel * call.fromPixel + segment * call.segmentStep;
          for (let i = start; i < start + length; i++, w += BLOCK) {
            const value = source[i];
            s0 += value * weights[w];
            s1 += value * weights[w + 1];
            s2 += value * weights[w + 2];
            s3 += value * weights[w + 3];
            s4 += value * weights[w + 4];
            s5 += value * weights[w + 5];
            s6 += value * weights[w + 6];
            s7 += value * weights[w + 7];
          }
        }
        const at = call.to + row * call.toRow + pixel * call.toPixel + first;
        target[at] = s0;
        if (last > 1) target[at + 1] = s1;
        if (last > 2) target[at + 2] = s2;
        if (last > 3) target[at + 3] = s3;
        if (last > 4) target[at + 4] = s4;
        if (last > 5) target[at + 5] = s5;
        if (last > 6) target[at + 6] = s6;
        if (last > 7) target[at + 7] = s7;
      }
    }
  }
}
