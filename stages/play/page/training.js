// The training's samples of fixed z, moment by moment, under a slider.

async function setUpTraining(app) {
  const {facts} = app, moments = app.payload.timeline || [];
  const sides = {width: facts.width, height: facts.height}, slider = byId("moment"), box = byId("moments");
  if (!moments.length) {
    byId("training").hidden = byId("nav-training").hidden = true;
    return;
  }
  const sheets = await Promise.all(moments.map(({png}) => pixelsAt(png)));
  const {count} = moments[0];
  const canvases = Array.from({length: Math.min(count, 24)}, () => make("canvas", {"aria-hidden": "true"}));
  box.append(...canvases);
  box.setAttribute("role", "img");
  slider.max = moments.length - 1;
  slider.value = slider.max;

  const show = () => {
    const moment = Number(slider.value);
    const text = say("moment", {images: grouped(moments[moment].images)});
    byId("moment-text").textContent = text;
    slider.setAttribute("aria-valuetext", text);
    box.setAttribute("aria-label", text);
    canvases.forEach((canvas, i) => drawPixels(canvas, cut(sheets[moment], sides, i, 0), sides));
  };
  const layOut = () => {
    const across = screenWidth() < 600 ? 4 : 8;
    const room = Math.floor(Math.min(1100, byId("training").clientWidth - 32) / across) - 3;
    canvases.forEach((canvas, i) => {
      fit(canvas, sides, Math.min(room, 130));
      canvas.hidden = i >= (across === 4 ? 12 : 24);
    });
    box.style.width = `${across * (canvases[0].clientWidth + 3) - 3}px`;
    show();
  };
  let timer = 0;
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    dress(byId("training-play"), "play", "play_film");
  };
  byId("training-play").addEventListener("click", () => {
    if (timer) return stop();
    dress(byId("training-play"), "pause", "stop");
    timer = setInterval(() => {
      slider.value = (Number(slider.value) + 1) % moments.length;
      show();
    }, 700);
  });
  slider.addEventListener("input", () => {
    stop();
    show();
  });
  window.addEventListener("resize", layOut);
  app.speakTraining = show;
  layOut();
}
