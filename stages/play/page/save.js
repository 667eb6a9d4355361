// Files from pictures: PNG, GIF and WebM, made in the page.

/** Offer a file for download. */
function download(blob, name) {
  const link = make("a", {href: URL.createObjectURL(blob), download: name});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Frames of RGBA side by side on a canvas, each pixel as a block of `scale` pixels. */
function stripCanvas(frames, sides, scale, gap = 0) {
  const one = make("canvas");
  const all = make("canvas", {
    width: frames.length * (sides.width * scale + gap) - gap,
    height: sides.height * scale,
  });
  const context = all.getContext("2d");
  context.imageSmoothingEnabled = false;
  frames.forEach((rgba, i) => {
    drawPixels(one, rgba, sides);
    context.drawImage(one, i * (sides.width * scale + gap), 0, sides.width * scale, sides.height * scale);
  });
  return all;
}

/** Save frames side by side as a PNG. */
function savePng(frames, sides, scale, name) {
  stripCanvas(frames, sides, scale, frames.length > 1 ? scale : 0).toBlob((blob) => download(blob, name), "image/png");
}

/** RGBA on the ground on which the page shows pictures. GIFs and videos have no transparency in steps. */
function opaque(rgba) {
  const ground = [1, 3, 5].map((start) => parseInt(colour("dark").slice(start, start + 2), 16));
  return rgba.map((value, i) => {
    const alpha = rgba[i | 3] / 255;
    return i % 4 === 3 ? 255 : value * alpha + ground[i % 4] * (1 - alpha);
  });
}

/** At most 256 colours for all frames, by median cut (Heckbert 1982): [r, g, b][], and the place of a colour in it. */
function paletteOf(frames) {
  const counts = new Map();
  for (const rgba of frames) {
    for (let i = 0; i < rgba.length; i += 4) {
      const key = (rgba[i] << 16) | (rgba[i + 1] << 8) | rgba[i + 2];
      counts.set(key, (counts.get(key) || 0) + 1);
    }
  }
  const level = (key, channel) => (key >> (16 - 8 * channel)) & 255;
  const boxOf = (keys) => {
    const ranges = [0, 1, 2].map((channel) => {
      let low = 255, high = 0;
      for (const key of keys) {
        low = Math.min(low, level(key, channel));
        high = Math.max(high, level(key, channel));
      }
      return high - low;
    });
    const widest = ranges.indexOf(Math.max(...ranges));
    return {keys, widest, size: ranges[widest] * Math.sqrt(keys.length)};
  };
  const boxes = [boxOf([...counts.keys()])];
  while (boxes.length < 256) {
    boxes.sort((a, b) => a.size - b.size);
    const {keys, widest, size} = boxes[boxes.length - 1];
    if (!size) break;
    boxes.pop();
    keys.sort((a, b) => level(a, widest) - level(b, widest));
    boxes.push(boxOf(keys.slice(0, keys.length >> 1)), boxOf(keys.slice(keys.length >> 1)));
  }
  const places = new Map();
  const colours = boxes.map(({keys}, place) => {
    const total = keys.reduce((sum, key) => sum + counts.get(key), 0);
    keys.forEach((key) => places.set(key, place));
    return [0, 1, 2].map((channel) =>
      Math.round(keys.reduce((sum, key) => sum + level(key, channel) * counts.get(key), 0) / total));
  });
  return {colours, places};
}

/** LZW of 8-bit values with GIF's variable code lengths, in GIF's sub-blocks. */
function lzw(values, out) {
  const clear = 256, end = 257;
  let next = 258, bits = 9, held = 0, heldBits = 0;
  let table = new Map();
  const block = [];
  const flush = () => {
    if (block.length) out.push(block.length, ...block.splice(0));
  };
  const put = (code) => {
    held |= code << heldBits;
    heldBits += bits;
    while (heldBits >= 8) {
      block.push(held & 255);
      held >>>= 8;
      heldBits -= 8;
      if (block.length === 255) flush();
    }
  };
  put(clear);
  let prefix = values[0];
  for (let i = 1; i < values.length; i++) {
    const key = (prefix << 8) | values[i];
    const known = table.get(key);
    if (known !== undefined) {
      prefix = known;
      continue;
    }
    put(prefix);
    if (next === 4096) {
      put(clear);
      table = new Map();
      next = 258;
      bits = 9;
    } else {
      if (next === 1 << bits) bits++;
      table.set(key, next++);
    }
    prefix = values[i];
  }
  put(prefix);
  put(end);
  if (heldBits) block.push(held & 255);
  flush();
  out.push(0);
}

/** An endless GIF89a of RGBA frames, each pixel as a block of `scale` pixels: Uint8Array. */
function gifOf(frames, {width, height}, scale, milliseconds) {
  const {colours, places} = paletteOf(frames);
  const word = (value) => [value & 255, value >> 8];
  const [wide, high] = [width * scale, height * scale];
  const out = [..."GIF89a"].map((character) => character.charCodeAt(0));
  out.push(...word(wide), ...word(high), 0xf7, 0, 0);
  for (let i = 0; i < 256; i++) out.push(...(colours[i] || [0, 0, 0]));
  out.push(0x21, 0xff, 11, ...[..."NETSCAPE2.0"].map((character) => character.charCodeAt(0)), 3, 1, 0, 0, 0);
  for (const rgba of frames) {
    out.push(0x21, 0xf9, 4, 0, ...word(Math.round(milliseconds / 10)), 0, 0);
    out.push(0x2c, 0, 0, 0, 0, ...word(wide), ...word(high), 0, 8);
    const values = new Uint8Array(wide * high);
    for (let y = 0; y < high; y++) {
      for (let x = 0; x < wide; x++) {
        const i = (Math.floor(y / scale) * width + Math.floor(x / scale)) * 4;
        values[y * wide + x] = places.get((rgba[i] << 16) | (rgba[i + 1] << 8) | rgba[i + 2]);
      }
    }
    lzw(values, out);
  }
  out.push(0x3b);
  return Uint8Array.from(out);
}

/** The first video type that this browser records; empty if it records none. */
function videoType() {
  if (!window.MediaRecorder || !HTMLCanvasElement.prototype.captureStream) return "";
  return ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm", "video/mp4"].find((type) => MediaRecorder.isTypeSupported(type)) || "";
}

/** Record frames as a video, in real time. */
async function recordVideo(frames, sides, scale, milliseconds, type) {
  const canvas = make("canvas", {width: sides.width * scale, height: sides.height * scale});
  const context = canvas.getContext("2d");
  const recorder = new MediaRecorder(canvas.captureStream(), {mimeType: type, videoBitsPerSecond: 4_000_000});
  const parts = [];
  recorder.ondataavailable = ({data}) => parts.push(data);
  const stopped = new Promise((resolve) => (recorder.onstop = resolve));
  recorder.start();
  for (const rgba of frames) {
    context.drawImage(stripCanvas([rgba], sides, scale), 0, 0);
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
  }
  recorder.stop();
  await stopped;
  return new Blob(parts, {type: type.split(";")[0]});
}
