// Two maps: a plane of two directions of z, and the plane in which the judge sees the samples.

/** The plane reaches this many standard deviations from its centre. */
const PLANE_REACH = 4;

function setUpMap(app) {
  const {facts, painter, directions} = app;
  const sides = {width: facts.width, height: facts.height};
  const view = byId("map-view"), canvas = byId("map-canvas"), look = byId("map-look"), cross = byId("map-cross");
  const judge = app.page.map;
  let kind = "plane", looked = null, count = 11, centre = app.place, drawn = "", points = [];

  const room = () => Math.min(704, byId("map").clientWidth - 40, screenWidth() > 860 ? byId("map").clientWidth - 400 : 1000, window.innerHeight - 110);
  const axes = () => [Number(byId("axis-x").value), Number(byId("axis-y").value)];

  const fillAxes = () => {
    for (const [id, chosen] of [["axis-x", 0], ["axis-y", 1]]) {
      const select = byId(id), value = select.value === "" ? Math.min(chosen, directions.length - 1) : select.value;
      select.replaceChildren(...directions.map((_, k) => make("option", {value: k}, say("direction", {number: k + 1}))));
      select.value = value;
    }
  };

  /** The place at shares x and y of the plane. */
  const placeIn = (x, y) => {
    const [right, up] = axes();
    const place = {...centre, moves: [...centre.moves]};
    place.moves[right] += (x * 2 - 1) * PLANE_REACH;
    place.moves[up] += (1 - y * 2) * PLANE_REACH;
    return place;
  };

  const drawPlane = () => {
    const tile = Math.max(1, Math.round(32 / facts.width)) * facts.width;
    count = Math.max(3, Math.floor(room() / Math.min(tile, 64)));
    count -= 1 - (count % 2);
    const small = Math.min(tile, 64);
    Object.assign(canvas, {width: count * small, height: count * Math.round((small * facts.height) / facts.width)});
    Object.assign(canvas.style, {width: `${canvas.width}px`, height: `${canvas.height}px`});
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = small < facts.width;
    const cells = Array.from({length: count * count}, (_, i) => i);
    const middle = (count - 1) / 2;
    const far = (i) => Math.hypot((i % count) - middle, Math.floor(i / count) - middle);
    cells.sort((a, b) => far(a) - far(b));
    const places = cells.map((i) => placeIn(((i % count) + 0.5) / count, (Math.floor(i / count) + 0.5) / count));
    const one = make("canvas");
    painter.later("map", places, (n, rgba) => {
      drawPixels(one, rgba, sides);
      const i = cells[n], high = canvas.height / count;
      context.drawImage(one, (i % count) * small, Math.floor(i / count) * high, small, high);
    });
    show(0.5, 0.5);
  };

  const drawJudge = () => {
    const side = Math.floor(room());
    Object.assign(canvas, {width: side, height: side});
    Object.assign(canvas.style, {width: `${side}px`, height: `${side}px`});
    const context = canvas.getContext("2d"), {samples, real} = judge;
    const all = [...samples.x, ...real.x], tall = [...samples.y, ...real.y];
    const low = [Math.min(...all), Math.min(...tall)], high = [Math.max(...all), Math.max(...tall)];
    const margin = 18, scale = (side - 2 * margin) / Math.max(high[0] - low[0], high[1] - low[1], 1e-6);
    const at = (x, y) => [margin + (x - low[0]) * scale, side - margin - (y - low[1]) * scale];
    context.fillStyle = "#0c0d10";
    context.fillRect(0, 0, side, side);
    context.fillStyle = "#ff9d57";
    real.x.forEach((x, i) => {
      const [px, py] = at(x, real.y[i]);
      context.fillRect(px - 1.5, py - 1.5, 3, 3);
    });
    points = samples.x.map((x, i) => ({at: at(x, samples.y[i]), seed: judge.first_seed + i, name: judge.names[samples.class[i]] || ""}));
    const small = side > 500 ? 26 : 18, one = make("canvas");
    painter.later("map", points.map(({seed}) => placeAt(seed, facts.latentSize, facts.labels ? seed % facts.labels : null)), (i, rgba) => {
      drawPixels(one, rgba, sides);
      // On a dark background only what is brighter is drawn, so that pictures do not cover each other.
      context.globalCompositeOperation = rgba[0] + rgba[1] + rgba[2] < 120 ? "lighten" : "source-over";
      context.imageSmoothingEnabled = true;
      context.drawImage(one, points[i].at[0] - small / 2, points[i].at[1] - small / 2, small, (small * facts.height) / facts.width);
    });
    show(0.5, 0.5);
  };

  const show = (x, y) => {
    let text = "", place;
    if (kind === "plane") {
      const [right, up] = axes();
      place = placeIn(x, y);
      text = say("map_at", {
        x: say("direction", {number: right + 1}), y: say("direction", {number: up + 1}),
        right: shown((x * 2 - 1) * PLANE_REACH, 1), up: shown((1 - y * 2) * PLANE_REACH, 1),
      });
    } else {
      const far = ({at}) => Math.hypot(at[0] - x * canvas.clientWidth, at[1] - y * canvas.clientHeight);
      const best = points.reduce((a, b) => (far(b) < far(a) ? b : a));
      place = placeAt(best.seed, facts.latentSize, facts.labels ? best.seed % facts.labels : null);
      [x, y] = [best.at[0] / canvas.clientWidth, best.at[1] / canvas.clientHeight];
      text = say("map_sample", {seed: best.seed, name: best.name});
    }
    looked = place;
    Object.assign(cross.style, {left: `${x * 100}%`, top: `${y * 100}%`});
    cross.classList.add("on");
    byId("map-where").textContent = text;
    painter.now("look", [place]).then((rgba) => {
      if (!rgba) return;
      fit(look, sides, screenWidth() > 860 ? 320 : 128);
      drawPixels(look, rgba, sides);
    });
  };

  app.drawMap = ({force = false} = {}) => {
    const key = `${kind} ${room()} ${axes()} ${language}`;
    if (!force && key === drawn) return;
    drawn = key;
    byId("map-lead").textContent = say(kind === "plane" ? "map_lead" : "map_lead_judge");
    if (kind === "plane") drawPlane();
    else drawJudge();
  };

  pointable(view, () => (kind === "plane" ? {columns: count, rows: count} : {columns: 30, rows: 30}), show, () => open());
  const open = () => {
    app.go({...looked, moves: [...looked.moves]});
    byId("play").scrollIntoView();
  };
  byId("map-open").addEventListener("click", open);
  for (const id of ["axis-x", "axis-y"]) byId(id).addEventListener("change", () => app.drawMap());
  const kinds = [...byId("map-kinds").children];
  byId("map-kinds").hidden = !judge;
  kinds.forEach((button) => button.addEventListener("click", () => {
    kind = button.dataset.map;
    kinds.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    byId("axes").hidden = kind !== "plane";
    app.drawMap();
  }));

  app.speakMap = fillAxes;
  app.centreMap = () => {
    centre = {...app.place, moves: [...app.place.moves]};
    app.drawMap({force: kind === "plane"});
  };
  fillAxes();
}
