// How it works, told with the numbers of the sample that the reader has chosen.

const ACTIVATIONS = ["relu", "leaky_relu", "elu", "tanh", "maxout"];
const LINEAR_KINDS = ["transposed", "convolution", "dense"];
const sigmoid = (x) => 1 / (1 + Math.exp(-x));

/** The layers of a network up to each activation, as {first, last}: their numbers. The last block may have none. */
function blocksOfLayers(layers) {
  const blocks = [];
  let first = 1;
  layers.forEach(({kind}, i) => {
    if (!ACTIVATIONS.includes(kind)) return;
    blocks.push({first, last: i});
    first = i + 1;
  });
  return blocks;
}

/** Which inputs and which weights make the output at (y, x): [{iy, ix, ky, kx}], without those outside the input. */
function tapsAt(layer, input, y, x) {
  const [kh, kw] = layer.tensors.kernel.shape, {stride} = layer, taps = [];
  const transposing = layer.kind === "transposed";
  const before = (kernel, size) => {
    if (transposing) return layer.padding === "same" ? Math.floor((kernel - stride) / 2) : 0;
    if (layer.padding !== "same") return 0;
    return Math.floor(Math.max((Math.ceil(size / stride) - 1) * stride + kernel - size, 0) / 2);
  };
  const [top, left] = [before(kh, input.height), before(kw, input.width)];
  for (let ky = 0; ky < kh; ky++) {
    for (let kx = 0; kx < kw; kx++) {
      const iy = transposing ? (y + top - ky) / stride : y * stride + ky - top;
      const ix = transposing ? (x + left - kx) / stride : x * stride + kx - left;
      const inside = iy >= 0 && ix >= 0 && iy < input.height && ix < input.width;
      if (inside && Number.isInteger(iy) && Number.isInteger(ix)) taps.push({iy, ix, ky, kx});
    }
  }
  return taps;
}

/** What each channel of the input adds to the output at (y, x) of channel `out`: {shares, products(channel)}. */
function sharesAt(layer, kernel, input, y, x, out) {
  const [, kw, third, fourth] = layer.tensors.kernel.shape;
  const taps = tapsAt(layer, input, y, x).filter(({iy, ix}) => {
    const start = (iy * input.width + ix) * input.channels;
    return input.data.subarray(start, start + input.channels).some(Boolean) || layer.kind === "transposed";
  });
  const products = (channel) => taps.map(({iy, ix, ky, kx}) => {
    const value = input.data[(iy * input.width + ix) * input.channels + channel];
    const at = (ky * kw + kx) * third * fourth + (layer.kind === "transposed" ? out * fourth + channel : channel * fourth + out);
    return {value, weight: kernel[at], iy, ix};
  });
  const shares = Float32Array.from({length: input.channels}, (_, channel) =>
    products(channel).reduce((sum, {value, weight}) => sum + value * weight, 0));
  return {shares, products};
}

/** The mean and the standard deviation of numbers. */
function momentsOf(values) {
  let sum = 0, squares = 0;
  for (const value of values) sum += value;
  const mean = sum / values.length;
  for (const value of values) squares += (value - mean) ** 2;
  return {mean, deviation: Math.sqrt(squares / values.length)};
}

/** Draw a histogram of values over [low, high] on a canvas. */
function drawHistogram(canvas, values, low, high, fill) {
  const {context, width, height} = drawing(canvas), bins = new Float64Array(48);
  for (const value of values) {
    const bin = Math.floor(((value - low) / (high - low)) * bins.length);
    if (bin >= 0 && bin < bins.length) bins[bin]++;
  }
  const sorted = [...bins].sort((a, b) => b - a), largest = Math.max(1, Math.min(sorted[0], 2.5 * sorted[1] || sorted[0]));
  context.fillStyle = fill;
  bins.forEach((bin, i) => {
    const high_ = Math.min(1, bin / largest) * (height - 4);
    context.fillRect((i * width) / bins.length, height - high_, width / bins.length - 1, high_);
  });
  context.fillStyle = colour("soft");
  context.fillRect(((0 - low) / (high - low)) * width, 0, 1, height);
}

function setUpStory(app) {
  const {facts, painter, engine, payload, directions} = app;
  const sides = {width: facts.width, height: facts.height};
  const G = payload.generator, D = payload.discriminator;
  const isProbability = facts.logistic && !facts.paired;
  let outputs = [], answer = 0, real = null, others = null, looked = {x: 0.5, y: 0.5};

  const answerText = (logit) => isProbability ? say("probability", {value: shown(sigmoid(logit), 3)}) : say("output", {value: shown(logit, 2)});
  const picture = (rgba, room) => {
    const canvas = make("canvas", {"aria-hidden": "true"});
    fit(canvas, sides, room);
    drawPixels(canvas, rgba, sides);
    return canvas;
  };

  /** The real pictures, and as many samples, with D's outputs. Computed once. */
  const compared = async () => {
    if (others) return others;
    const count = app.page.real?.count || 0;
    if (count) {
      const sheet = await pixelsAt(`data:image/png;base64,${app.page.real.png}`);
      real = Array.from({length: count}, (_, i) => cut(sheet, sides, i, 0));
    }
    const places = Array.from({length: Math.max(count, 12)}, (_, seed) => placeAt(seed + 100, facts.latentSize, facts.labels ? seed % facts.labels : null));
    const rgba = await painter.now("compared", places);
    const length = rgba.length / places.length;
    const samples = places.map((_, i) => rgba.slice(i * length, (i + 1) * length));
    const judged = async (pictures, classes) => {
      if (!D || !pictures?.length || (facts.labels && !classes.length)) return [];
      const floats = new Float32Array(pictures.length * facts.width * facts.height * facts.channels);
      pictures.forEach((one, i) => floats.set(floatsOfRgba(one), i * floats.length / pictures.length));
      return [...(await engine.discriminate(floats, {classes}))];
    };
    // A conditional D asks whether a picture is a real one of its class.
    const classesOfReal = painter.shares((app.page.real?.labels || []).map((label) => ({label})));
    others = {samples, ofSamples: await judged(samples, painter.shares(places)), ofReal: await judged(real, classesOfReal)};
    return others;
  };

  const floatsOfRgba = (rgba) => {
    const {channels} = facts, floats = new Float32Array((rgba.length / 4) * channels);
    for (let i = 0; i < floats.length; i++) floats[i] = rgba[Math.floor(i / channels) * 4 + (i % channels)] / 127.5 - 1;
    return floats;
  };

  // 1. The game

  const players = async () => {
    const {samples} = await compared(), realOutput = others.ofReal[0];
    const net = (name, key) => make("span", {className: "net"}, name, make("small", {}, say(key)));
    const rows = [make("div", {className: "row"}, make("span", {}, say("noise", {count: facts.latentSize})), "→", net("G", "generator"), "→",
      picture(app.pixels || samples[0], screenWidth() < 600 ? 40 : 64), ...(D ? ["→", net("D", "discriminator"), "→", make("span", {}, answerText(answer))] : []))];
    if (others.ofReal.length) rows.push(make("div", {className: "row"}, make("span", {}, say("data_arrow")), "→", picture(real[0], screenWidth() < 600 ? 40 : 64), "→", net("D", "discriminator"), "→",
      make("span", {}, answerText(realOutput))));
    byId("players").replaceChildren(...rows);
    byId("game-numbers").textContent = !D ? "" : isProbability
      ? say("game_plain", {p: shown(sigmoid(answer), 3), log: shown(Math.log(Math.max(1e-12, 1 - sigmoid(answer))), 3)})
      : facts.paired && others.ofReal.length ? say("game_paired", {real: shown(realOutput), fake: shown(answer), gap: shown(realOutput - answer), p: shown(100 * sigmoid(realOutput - answer), 0)})
        : say("game_other", {value: shown(answer)});
  };

  // 2. and 4. Layers

  const drawNoise = (chosen = -1) => {
    const z = outputs[0].data, {context, width, height} = drawing(byId("noise")), step = width / z.length;
    z.forEach((value, i) => {
      const tall = (Math.min(3.5, Math.abs(value)) / 3.5) * (height / 2 - 1);
      context.fillStyle = i === chosen ? colour("ink") : colour(value >= 0 ? "plus" : "minus");
      context.fillRect(i * step, value >= 0 ? height / 2 - tall : height / 2, Math.max(1, step - 1), tall);
    });
    byId("noise-text").textContent = chosen < 0 ? say("noise_text", {count: z.length, norm: shown(norm(z), 1)}) : say("noise_one", {number: chosen + 1, value: shown(z[chosen], 3)});
  };
  byId("noise").addEventListener("pointermove", (event) => {
    if (outputs.length) drawNoise(Math.min(outputs[0].data.length - 1, Math.max(0, Math.floor((event.offsetX / byId("noise").clientWidth) * outputs[0].data.length))));
  });
  byId("noise").addEventListener("pointerleave", () => outputs.length && drawNoise());

  /** How a block computes, in words: its layers and the number of its weights. */
  const recipe = (network, {first, last}) => {
    const layers = network.layers.slice(first, last + 1);
    const weights = layers.reduce((sum, {tensors}) => sum + Object.values(tensors).reduce((part, {shape}) => part + shape.reduce((a, b) => a * b, 1), 0), 0);
    const names = layers.filter(({kind}) => kind !== "reshape").map((layer) => {
      const [kh, kw] = layer.tensors.kernel?.shape || [];
      return LINEAR_KINDS.includes(layer.kind) && layer.kind !== "dense" ? `${say(`layer_${layer.kind}`)} ${kh}×${kw}${layer.stride > 1 ? say("with_stride", {stride: layer.stride}) : ""}` : say(`layer_${layer.kind}`);
    });
    return say("recipe", {layers: names.join(" → "), weights: grouped(weights)});
  };

  const drawLayers = (box, network, results) => {
    const blocks = blocksOfLayers(network.layers).filter(({last}) => results[last].height > 1);
    if (box.children.length !== blocks.length) {
      box.replaceChildren(...blocks.map(() => {
        const mosaic = make("canvas", {"aria-hidden": "true"}), chart = make("div", {className: "chart", tabIndex: 0, role: "application"}, mosaic);
        const one = make("canvas", {"aria-hidden": "true"}), text = make("div", {role: "status"});
        const layer = make("div", {className: "layer"}, make("p", {className: "head"}, make("b"), make("span", {className: "small"})), make("div", {}, chart), make("div", {className: "one"}, one, text));
        pointable(chart, () => layer.grid, (x, y) => layer.show(x, y));
        return layer;
      }));
    }
    blocks.forEach((block, i) => drawLayer(box.children[i], network, block, results[block.last]));
  };

  const drawLayer = (layer, network, block, {name, kind, height, width, channels, data}) => {
    const [title, about] = layer.querySelectorAll(".head b, .head span"), chart = layer.querySelector(".chart"), canvas = chart.firstChild;
    title.textContent = `${height} × ${width} × ${channels}`;
    about.textContent = recipe(network, block);
    chart.setAttribute("aria-label", say("layer_alt", {name}));
    const isPicture = network === G && block.last === network.layers.length - 1;
    const signed = kind !== "relu" && kind !== "maxout";
    const sorted = Float32Array.from(data, Math.abs).sort(), largest = sorted[Math.floor(sorted.length * 0.995)] || 1;
    const channel = (c) => Float32Array.from({length: height * width}, (_, i) => data[i * channels + c]);
    const images = isPicture ? [rgbaOf(data, channels)] : Array.from({length: channels}, (_, c) => shades(channel(c), largest, signed));
    // As many columns as make the mosaic about three times as wide as high.
    const ideal = Math.sqrt(3 * images.length * height / width);
    const divisors = Array.from({length: images.length}, (_, i) => i + 1).filter((n) => images.length % n === 0);
    const columns = divisors.reduce((best, n) => (Math.abs(Math.log(n / ideal)) < Math.abs(Math.log(best / ideal)) ? n : best)), rows = Math.ceil(images.length / columns), gap = images.length > 1 ? 1 : 0;
    Object.assign(canvas, {width: columns * (width + gap) - gap, height: rows * (height + gap) - gap});
    const context = canvas.getContext("2d"), small = make("canvas");
    images.forEach((rgba, c) => {
      drawPixels(small, rgba, {width, height});
      context.drawImage(small, (c % columns) * (width + gap), Math.floor(c / columns) * (height + gap));
    });
    const room = layer.clientWidth - (screenWidth() < 600 ? 110 : 155), side = pixelSide({width: canvas.width, height: 1}, Math.min(room, isPicture ? 160 : 640));
    Object.assign(canvas.style, {width: `${canvas.width * side}px`, height: `${canvas.height * side}px`});
    layer.grid = {columns, rows};
    const [one, text] = layer.querySelector(".one").children;
    layer.show = (x, y) => {
      const c = Math.min(images.length - 1, Math.floor(y * rows) * columns + Math.floor(x * columns));
      fit(one, {width, height}, screenWidth() < 600 ? 96 : 132);
      drawPixels(one, images[c], {width, height});
      if (isPicture) return void (text.textContent = say("the_picture"));
      const values = channel(c), {mean} = momentsOf(values), zeros = values.filter((value) => value === 0).length / values.length;
      text.textContent = say("channel", {number: c + 1, mean: shown(mean), largest: shown(Math.max(...values))}) + (kind === "relu" ? ` ${say("zeros", {share: shown(100 * zeros, 0)})}` : "");
    };
    const strongest = images.length > 1 ? Array.from({length: channels}, (_, c) => momentsOf(channel(c)).deviation).reduce((best, value, c, all) => (value > all[best] ? c : best), 0) : 0;
    layer.show(((strongest % columns) + 0.5) / columns, (Math.floor(strongest / columns) + 0.5) / rows);
  };

  // 3. One pixel

  let pixel = null;
  const lastLinear = G.layers.reduce((best, {kind}, i) => (LINEAR_KINDS.includes(kind) ? i : best), 0);

  const drawPixel = async () => {
    const canvas = byId("pixel-picture"), side = fit(canvas, sides, screenWidth() < 600 ? screenWidth() - 40 : 288);
    drawPixels(canvas, rgbaOf(outputs.at(-1).data, facts.channels), sides);
    const layer = G.layers[lastLinear], weights = await engine.weights(lastLinear);
    const x = Math.floor(looked.x * facts.width), y = Math.floor(looked.y * facts.height);
    Object.assign(byId("pixel-frame").style, {left: `${x * side - 2}px`, top: `${y * side - 2}px`, width: `${side + 4}px`, height: `${side + 4}px`});
    const input = outputs[layer.from[0]], {shares, products} = sharesAt(layer, weights.kernel, input, y, x, 0);
    const bias = weights.bias ? weights.bias[0] : 0, at = (y * facts.width + x) * facts.channels;
    pixel = {shares, products};
    const before = outputs[lastLinear].data[at], value = outputs.at(-1).data[at];
    byId("pixel-text").textContent = say(facts.channels > 1 ? "pixel_red" : "pixel_sum", {
      x: x + 1, y: y + 1, channels: input.channels, taps: products(0).length, products: products(0).length * input.channels, bias: shown(bias, 3),
      sum: shown(before, 3), tanh: shown(value, 3), level: Math.round((value + 1) * 127.5),
    });
    drawBars();
  };

  const drawBars = (chosen = -1) => {
    const {context, width, height} = drawing(byId("pixel-bars")), {shares, products} = pixel;
    const largest = Math.max(...shares.map(Math.abs)) || 1, step = width / shares.length;
    shares.forEach((share, i) => {
      const tall = (Math.abs(share) / largest) * (height / 2 - 2);
      context.fillStyle = i === chosen ? colour("ink") : colour(share >= 0 ? "plus" : "minus");
      context.fillRect(i * step, share >= 0 ? height / 2 - tall : height / 2, Math.max(1, step - 1), Math.max(1, tall));
    });
    const channel = chosen >= 0 ? chosen : shares.reduce((best, share, i) => (Math.abs(share) > Math.abs(shares[best]) ? i : best), 0);
    const box = make("div", {className: "product"}, make("b", {}, say("channel_adds", {number: channel + 1, share: shown(shares[channel], 3)})),
      ...products(channel).map(({value, weight}) => make("span", {}, `${shown(value)} · `, make("span", {className: weight >= 0 ? "plus" : "minus"}, shown(weight, 3)))));
    byId("pixel-product").replaceChildren(box);
  };
  byId("pixel-bars").addEventListener("pointermove", (event) => pixel && drawBars(Math.min(pixel.shares.length - 1, Math.max(0, Math.floor((event.offsetX / byId("pixel-bars").clientWidth) * pixel.shares.length)))));
  pointable(byId("pixel-pick"), () => ({columns: facts.width, rows: facts.height}), (x, y) => {
    looked = {x, y};
    if (outputs.length) drawPixel();
  });

  // 4. Answers of D, and the quiz

  const drawAnswers = async () => {
    const {samples, ofSamples, ofReal} = await compared();
    const {context, width, height} = drawing(byId("answers")), all = [...ofSamples, ...ofReal, answer];
    const low = Math.min(...all), high = Math.max(...all), side = width < 500 ? 20 : 28, margin = side / 2 + 4;
    const at = (value) => margin + ((value - low) / (high - low || 1)) * (width - 2 * margin);
    const one = make("canvas");
    context.imageSmoothingEnabled = side < facts.width;
    const row = (pictures, values, top, name, tint) => {
      context.fillStyle = tint;
      context.font = "600 13px system-ui, sans-serif";
      context.fillText(name, 4, top + 12);
      const ends = [];
      [...values.keys()].sort((a, b) => values[a] - values[b]).forEach((i) => {
        const left = at(values[i]) - side / 2;
        let lane = ends.findIndex((end) => end <= left);
        if (lane < 0) lane = ends.length;
        if (lane > 1) lane = ends.indexOf(Math.min(...ends));
        ends[lane] = left + side * 0.6;
        drawPixels(one, pictures[i], sides);
        context.drawImage(one, left, top + 18 + lane * (side * 0.55), side, (side * facts.height) / facts.width);
        context.strokeStyle = tint;
        context.strokeRect(left - 0.5, top + 17.5 + lane * (side * 0.55), side + 1, (side * facts.height) / facts.width + 1);
      });
    };
    if (ofReal.length) row(real, ofReal, 0, say("real_pictures"), colour("minus"));
    row(samples, ofSamples, height / 2, say("samples"), colour("plus"));
    context.fillStyle = colour("ink");
    context.fillRect(at(answer) - 1, 0, 2, height);
    const above = (values) => Math.round((100 * values.filter((value) => value < answer).length) / Math.max(1, values.length));
    byId("answers-text").textContent =
      say("answers_text", {answer: answerText(answer), samples: above(ofSamples), count: ofSamples.length}) +
      (ofReal.length ? say("answers_real", {real: above(ofReal), count: ofReal.length}) : "");
  };

  let quiz = [], checked = false;
  const newQuiz = async () => {
    const {samples, ofSamples, ofReal} = await compared();
    const some = (pictures, values, isReal) => [...pictures.keys()].sort(() => Math.random() - 0.5).slice(0, 4).map((i) => ({rgba: pictures[i], output: values[i], isReal, called: false}));
    quiz = [...some(real, ofReal, true), ...some(samples, ofSamples, false)].sort(() => Math.random() - 0.5);
    checked = false;
    drawQuiz();
  };
  const drawQuiz = () => {
    byId("quiz").replaceChildren(...quiz.map((one, i) => {
      const text = make("span", {}, checked ? say(one.isReal ? "was_real" : "was_made") : one.called ? say("made") : "?");
      const button = make("button", {type: "button", disabled: checked}, picture(one.rgba, 88), text);
      if (checked) button.append(make("small", {}, answerText(one.output)));
      button.setAttribute("aria-pressed", String(one.called));
      button.setAttribute("aria-label", `${say("quiz_picture", {number: i + 1})} ${text.textContent}`);
      button.addEventListener("click", () => {
        one.called = !one.called;
        drawQuiz();
        byId("quiz").children[i].focus();
      });
      return button;
    }));
    const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
    const middle = checked ? (mean(others.ofReal) + mean(others.ofSamples)) / 2 : 0;
    const right = (guess) => quiz.filter((one) => guess(one) === !one.isReal).length;
    byId("quiz-text").textContent = checked ? say("quiz_result", {you: right((one) => one.called), d: right((one) => one.output < middle), all: quiz.length}) : "";
    byId("quiz-check").disabled = checked;
  };
  byId("quiz-check").addEventListener("click", () => {
    checked = true;
    drawQuiz();
  });
  byId("quiz-new").addEventListener("click", newQuiz);

  // 6. Batch norm

  const drawNorm = async (z) => {
    const first = G.layers.findIndex(({kind}) => kind === "batch_norm"), box = byId("norm");
    if (first < 0) return void box.replaceChildren(make("p", {}, say("norm_none")));
    const without = await engine.layers(z, {norm: false, classes: painter.shares([app.place])});
    const pictures = [[outputs, "norm_on"], [without, "norm_off"]].map(([layers, key]) => {
      const canvas = picture(rgbaOf(layers.at(-1).data, facts.channels), Math.min(160, (box.clientWidth - 24) / 2));
      return make("figure", {}, canvas, make("figcaption", {}, say(key)));
    });
    const before = outputs[G.layers[first].from[0]], after = outputs[first];
    const figures = [[before, "before_norm", "minus"], [after, "after_norm", "plus"]].map(([{data}, key, tint]) => {
      const {mean, deviation} = momentsOf(data), canvas = make("canvas", {"aria-hidden": "true"});
      Object.assign(canvas.style, {width: "230px", height: "110px"});
      return {figure: make("figure", {}, canvas, make("figcaption", {}, say(key, {mean: shown(mean), deviation: shown(deviation)}))), canvas, data, tint};
    });
    box.replaceChildren(make("div", {className: "pair"}, ...pictures), make("div", {className: "pair"}, ...figures.map(({figure}) => figure)));
    const reach = 3.5 * Math.max(...figures.map(({data}) => momentsOf(data).deviation));
    figures.forEach(({canvas, data, tint}) => drawHistogram(canvas, data, -reach, reach, colour(tint)));
    const {scale, offset, mean, variance} = await engine.weights(first), c = 0;
    if (!scale || !offset) return;
    const term = (value) => (value < 0 ? `(${shown(value, 3)})` : shown(value, 3)); // no sign after a sign
    box.append(make("p", {className: "small"}, say("norm_channel", {
      layer: G.layers[first].name, mean: term(mean[c]), deviation: shown(Math.sqrt(variance[c]), 3), scale: term(scale[c]), offset: term(offset[c]),
      x: shown(before.data[c], 3), y: shown(after.data[c], 3),
    })));
  };

  // 7. The ends

  const drawEnds = () => {
    const stem = outputs.find(({height}) => height > 1), {height, width} = stem, d = facts.latentSize;
    const c = outputs[blocksOfLayers(G.layers).map(({last}) => last).find((i) => outputs[i].height > 1)].channels, cells = height * width;
    const named = (name) => G.layers.some((layer) => layer.name === name), kinds = D ? D.layers.map(({kind, name}) => (name === "hidden" ? "dense_head" : kind)) : [];
    const head = kinds.includes("mean") ? "gap" : kinds.includes("dense_head") ? "dense" : "conv", dc = D ? lastChannels() : c;
    const stemOfG = named("hidden_and_z") ? "both" : named("hidden") ? "dense" : "conv";
    const rows = [
      ["G", "conv", d * cells * c, stemOfG === "conv"], ["G", "dense", d * c + c * cells * c, stemOfG === "dense"],
      ["G", "both", d * c + (c + d) * cells * c, stemOfG === "both"],
      ["D", "conv", cells * dc + 1, D && head === "conv"], ["D", "dense", cells * dc * dc + dc + dc + 1, D && head === "dense"], ["D", "gap", dc + 1, D && head === "gap"],
    ];
    const header = make("thead", {}, make("tr", {}, ...["network", "end", "weights", "here"].map((key) => make("th", {scope: "col"}, say(`ends_${key}`)))));
    byId("ends").replaceChildren(header, make("tbody", {}, ...rows.map(([network, end, weights, here]) =>
      make("tr", {}, make("td", {}, network), make("td", {}, say(`end_${end}`)), make("td", {className: "n"}, grouped(weights)), make("td", {}, here ? "✓" : "")))));
  };
  const lastChannels = () => D.layers.filter(({tensors}) => tensors.kernel).slice(0, -1).reduce((_, {kind, tensors}) => tensors.kernel.shape[kind === "transposed" ? 2 : tensors.kernel.shape.length - 1], 0);

  // 8. Activations

  const drawCurves = () => {
    const functions = {
      relu: (x) => Math.max(0, x), leaky_relu: (x) => (x > 0 ? x : 0.2 * x), elu: (x) => (x > 0 ? x : Math.expm1(x)), tanh: Math.tanh, maxout: (x) => Math.max(-0.5 * x - 0.6, x),
    };
    const used = (network) => new Set((network?.layers || []).map(({kind}) => kind));
    const inG = used(G), inD = used(D);
    byId("curves").replaceChildren(...Object.keys(functions).map((kind) => {
      const where = [inG.has(kind) && "G", inD.has(kind) && "D"].filter(Boolean).join(", ");
      return make("figure", {}, make("canvas", {"aria-hidden": "true"}), make("figcaption", {}, make("b", {}, say(`layer_${kind}`)), ` ${where ? say("used_in", {where}) : ""}`, make("br"), say(`about_${kind}`)));
    }));
    [...byId("curves").children].forEach((figure, i) => {
      const f = Object.values(functions)[i], {context, width, height} = drawing(figure.firstChild);
      const px = (x) => ((x + 3) / 6) * width, py = (y) => height - ((y + 1.6) / 4.2) * height;
      context.strokeStyle = colour("line");
      context.strokeRect(px(-3), py(0), width, 0);
      context.strokeRect(px(0), 0, 0, height);
      context.strokeStyle = colour("plus");
      context.lineWidth = 2.5;
      context.beginPath();
      for (let x = -3; x <= 3; x += 0.05) context.lineTo(px(x), py(f(x)));
      context.stroke();
    });
    const rectified = outputs.filter(({kind, height}) => kind === "relu" && height > 1);
    byId("dead").textContent = rectified.length ? say("dead", {shares: rectified.map(({data}) => `${shown((100 * data.filter((value) => value === 0).length) / data.length, 0)} %`).join(", ")}) : "";
  };

  // All of it

  app.tellStory = async () => {
    if (!app.pixels) return;
    const {place} = app, z = zOf(place, directions), classes = painter.shares([place]);
    outputs = await engine.layers(z, {classes});
    if (D) [answer] = await engine.discriminate(outputs.at(-1).data.slice(), {classes});
    if (app.place !== place) return;
    fit(byId("how-canvas"), sides, screenWidth() > 860 ? 224 : 84);
    drawPixels(byId("how-canvas"), rgbaOf(outputs.at(-1).data, facts.channels), sides);
    byId("how-where").textContent = app.nameOf(place);
    byId("how-answer").textContent = D ? answerText(answer) : "–";
    await players();
    drawNoise();
    drawLayers(byId("layers"), G, outputs);
    await drawPixel();
    if (D) {
      drawLayers(byId("d-layers"), D, await engine.layers(outputs.at(-1).data.slice(), {network: "discriminator", classes}));
      await drawAnswers();
    }
    await drawNorm(z);
    drawEnds();
    drawCurves();
    if (others.ofReal.length && !quiz.length) await newQuiz();
    else if (quiz.length) drawQuiz();
    byId("how").dataset.told = String(1 + Number(byId("how").dataset.told || 0));
  };
  byId("how-new").addEventListener("click", () => app.go(placeAt(randomSeed(), facts.latentSize, app.place.label)));
  if (!D) byId("d-part").hidden = true;
  if (!D || !app.page.real) byId("quiz-part").hidden = true;
}
