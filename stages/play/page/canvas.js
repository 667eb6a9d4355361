// Pictures on canvases: pixels stay crisp because each becomes a whole number of the screen's pixels.

/** The width of the screen in CSS pixels. (A phone widens window.innerWidth to what overflows.) */
const screenWidth = () => document.documentElement.clientWidth;

/** Draw the picture number `index` of RGBA pixels, one after another, on a canvas of that size. */
function drawPixels(canvas, rgba, {width, height}, index = 0) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, {width, height});
  const length = width * height * 4;
  const data = new ImageData(rgba.subarray(index * length, (index + 1) * length), width, height);
  canvas.getContext("2d").putImageData(data, 0, 0);
}

/** The size of a picture's pixel, in CSS pixels: the largest whole number of the screen's pixels that fits. */
function pixelSide(sides, room) {
  const density = window.devicePixelRatio || 1;
  const fitting = room / Math.max(sides.width, sides.height);
  return fitting * density < 1 ? fitting : Math.floor(fitting * density) / density;
}

/** Give a canvas the largest size within `room` CSS pixels. Returns the size of a pixel. */
function fit(canvas, sides, room) {
  const side = pixelSide(sides, room);
  canvas.style.width = `${sides.width * side}px`;
  canvas.style.height = `${sides.height * side}px`;
  canvas.classList.toggle("smooth", side * (window.devicePixelRatio || 1) < 1);
  if (canvas.width !== sides.width || canvas.height !== sides.height) {
    Object.assign(canvas, {width: sides.width, height: sides.height});
  }
  return side;
}

/** The context of a canvas that has a drawing, not a picture: as sharp as the screen, in CSS pixels. */
function drawing(canvas) {
  const density = Math.min(3, window.devicePixelRatio || 1);
  const width = canvas.clientWidth, height = canvas.clientHeight;
  Object.assign(canvas, {width: Math.round(width * density), height: Math.round(height * density)});
  const context = canvas.getContext("2d");
  context.scale(density, density);
  return {context, width, height};
}

/** A colour of the page's style sheet. */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Numbers as RGBA. `signed`: blue is positive and orange negative; otherwise black is 0 and white is `largest`. */
function shades(values, largest, signed) {
  const rgba = new Uint8ClampedArray(values.length * 4);
  values.forEach((value, i) => {
    const share = largest ? Math.min(1, Math.abs(value) / largest) : 0;
    const full = !signed ? [255, 255, 255] : value >= 0 ? [125, 180, 255] : [255, 140, 50];
    full.forEach((level, channel) => (rgba[i * 4 + channel] = level * share));
    rgba[i * 4 + 3] = 255;
  });
  return rgba;
}

/** A picture in [-1,1], (height, width, channels), as RGBA. */
function rgbaOf(values, channels) {
  const pixels = values.length / channels;
  const rgba = new Uint8ClampedArray(pixels * 4);
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 4; c++) {
      const from = channels === 1 ? i : i * channels + c;
      rgba[i * 4 + c] = c === 3 && channels < 4 ? 255 : (values[from] + 1) * 127.5;
    }
  }
  return rgba;
}

/** The pixels of an address of an image: {rgba, width, height}. */
async function pixelsAt(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = document.createElement("canvas");
  Object.assign(canvas, {width: image.naturalWidth, height: image.naturalHeight});
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const {width, height} = canvas;
  return {rgba: context.getImageData(0, 0, width, height).data, width, height};
}

/** The picture at column and row of a sheet of pictures without gaps, as RGBA. */
function cut(sheet, {width, height}, column, row) {
  const rgba = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y++) {
    const from = ((row * height + y) * sheet.width + column * width) * 4;
    rgba.set(sheet.rgba.subarray(from, from + width * 4), y * width * 4);
  }
  return rgba;
}

/**
 * Let the user point into an element: by mouse, by touch, and by the arrow keys.
 * `move(x, y)` gets the place as shares of the width and the height. `steps` are the columns and rows of the arrow
 * keys. `choose` is called on a click, and on Enter.
 */
function pointable(element, steps, move, choose = () => {}) {
  const at = {x: 0.5, y: 0.5};
  const go = (x, y) => {
    at.x = Math.min(1 - 1e-6, Math.max(0, x));
    at.y = Math.min(1 - 1e-6, Math.max(0, y));
    move(at.x, at.y);
  };
  const follow = (event) => {
    const box = element.getBoundingClientRect();
    go((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  };
  element.addEventListener("pointermove", follow);
  element.addEventListener("pointerdown", follow);
  element.addEventListener("click", (event) => {
    follow(event);
    choose();
  });
  element.addEventListener("keydown", (event) => {
    const {columns, rows} = steps();
    const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (step) go((Math.floor(at.x * columns) + 0.5 + step[0]) / columns, (Math.floor(at.y * rows) + 0.5 + step[1]) / rows);
    else if (event.key === "Enter") choose();
    else return;
    event.preventDefault();
  });
}
