async function show() {
  const payload = JSON.parse(document.getElementById("payload").textContent);
  const engine = await Engine.start(payload);
  const {latentSize, height, width} = engine.facts;
  const canvas = document.getElementById("picture");
  Object.assign(canvas, {width, height});
  const pixels = await engine.generate(Float32Array.from({length: latentSize}, () => Math.random() * 2 - 1));
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
}

show();
