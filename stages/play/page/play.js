// The first screen: one large picture that moves under the hand, on a wall of samples to pick from.

/** A picture's width of dragging moves this many standard deviations of z. */
const REACH = 6;
const WALK_MILLISECONDS = 2600;
const calm = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;
const randomSeed = () => Math.floor(Math.random() * 1e6);

/** The class of each of the first seeds by the judge, as class → seeds. */
function seedsByClass({names, seeds}) {
  const found = names.map(() => []);
  [...seeds].forEach((digit, seed) => found[parseInt(digit, 36)]?.push(seed));
  return found;
}

function setUpPlay(app) {
  const {facts, painter, directions} = app;
  const sides = {width: facts.width, height: facts.height};
  const stage = byId("play"), wall = byId("wall"), hero = byId("hero"), canvas = byId("hero-canvas"), dock = byId("dock");
  let walking = false, tiles = [], active = -1, chosenClass = -1;
  const found = app.page.classes ? seedsByClass(app.page.classes) : [];

  // The large picture

  app.draw = async () => {
    const rgba = await painter.now("hero", [app.place]);
    if (!rgba) return;
    drawPixels(canvas, rgba, sides);
    app.pixels = rgba;
    hero.dataset.drawn = String(1 + Number(hero.dataset.drawn || 0));
  };

  app.describe = () => {
    const {place} = app;
    byId("where").textContent = app.nameOf(place);
    const [right, up] = place.moves;
    byId("moved").textContent = right || up ? say("moved", {right: shown(right, 1), up: shown(up, 1)}) : say("not_moved");
    for (const k of [2, 3, 4]) setSlider(byId(`move-${k}`), place.moves[k]);
    setSlider(byId("scale"), place.scale);
    const cross = byId("cross");
    cross.style.left = `${50 + (right / LARGEST_MOVE) * 50}%`;
    cross.style.top = `${50 - (up / LARGEST_MOVE) * 50}%`;
  };

  app.go = (place, {quiet = false} = {}) => {
    app.place = place;
    app.describe();
    app.draw();
    if (!quiet) app.changed();
  };

  const setSlider = (input, value) => {
    input.value = value;
    input.parentElement.querySelector("output").value = shown(value, input.id === "scale" ? 2 : 1);
  };

  const move = (k, value) => {
    app.place.moves[k] = Math.round(Math.max(-LARGEST_MOVE, Math.min(LARGEST_MOVE, value)) * 1000) / 1000;
    app.go(app.place);
  };

  const touched = () => {
    stop();
    byId("hint").classList.add("gone");
  };

  // The picture moves under the hand. A page that a server adds to may have a second one, which moves with the first.
  app.heroes = [hero];
  let drag = null, crossTimer = 0;
  const showCross = () => {
    byId("cross").classList.add("on");
    clearTimeout(crossTimer);
    crossTimer = setTimeout(() => byId("cross").classList.remove("on"), 1200);
  };
  app.movable = (picture) => {
    picture.addEventListener("pointerdown", (event) => {
      touched();
      drag = {x: event.clientX, y: event.clientY, from: [...app.place.moves]};
      picture.setPointerCapture(event.pointerId);
    });
    picture.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const per = REACH / hero.clientWidth;
      app.place.moves[1] = Math.max(-LARGEST_MOVE, Math.min(LARGEST_MOVE, drag.from[1] - (event.clientY - drag.y) * per));
      showCross();
      move(0, drag.from[0] + (event.clientX - drag.x) * per);
    });
    for (const name of ["pointerup", "pointercancel"]) picture.addEventListener(name, () => (drag = null));
  };
  app.movable(hero);
  hero.addEventListener("keydown", (event) => {
    const size = event.shiftKey ? 1 : 0.25;
    const step = {ArrowLeft: [0, -size], ArrowRight: [0, size], ArrowUp: [1, size], ArrowDown: [1, -size]}[event.key];
    if (step) {
      touched();
      showCross();
      move(step[0], app.place.moves[step[0]] + step[1]);
    } else if (event.key === "0" || event.key === "Home") byId("back").click();
    else if (event.key === "n") byId("new").click();
    else if (event.key === " ") byId("walk").click();
    else return;
    event.preventDefault();
  });
  for (const k of [2, 3, 4]) {
    const input = byId(`move-${k}`);
    if (k >= directions.length) input.parentElement.hidden = true;
    input.addEventListener("input", () => {
      touched();
      move(k, Number(input.value));
    });
  }
  byId("scale").addEventListener("input", () => {
    touched();
    app.place.scale = Number(byId("scale").value);
    app.go(app.place);
  });

  // The walk

  function stop() {
    if (!walking) return;
    walking = false;
    dress(byId("walk"), "play", "walk");
    app.changed();
  }

  /** From place to place without end. With reduced motion, it is a slide show. */
  async function walk() {
    walking = true;
    dress(byId("walk"), "pause", "stop");
    byId("hint").classList.add("gone");
    const labels = facts.labels;
    while (walking) {
      const from = zOf(app.place, directions), label = app.place.label;
      const to = latentOf(randomSeed(), facts.latentSize);
      const next = label === null || chosenClass >= 0 ? label : Math.floor(Math.random() * labels);
      const started = performance.now();
      for (let t = 0; walking && t < 1; ) {
        await (calm() ? new Promise((resolve) => setTimeout(resolve, 1500)) : new Promise(requestAnimationFrame));
        t = calm() ? t + 0.25 : Math.min(1, (performance.now() - started) / WALK_MILLISECONDS);
        if (!walking) break;
        app.place = placeOf(slerp(from, to, t), t < 0.5 ? label : next);
        app.describe();
        await app.draw();
      }
    }
  }

  byId("walk").addEventListener("click", () => (walking ? stop() : walk()));
  byId("new").addEventListener("click", () => {
    touched();
    app.go(placeAt(chosenSeed(), facts.latentSize, chosenLabel()));
  });
  byId("back").addEventListener("click", () => {
    touched();
    app.go({...app.place, scale: 1, moves: new Array(8).fill(0)});
  });
  byId("keep").addEventListener("click", () => app.keep(app.place));
  byId("save").addEventListener("click", () => {
    const name = app.place.seed === null ? "sample" : `seed-${app.place.seed}`;
    savePng([app.pixels], sides, Math.max(1, Math.floor(512 / facts.width)), `${name}.png`);
  });
  byId("share").addEventListener("click", async () => {
    stop();
    app.write();
    try {
      await navigator.clipboard.writeText(location.href);
      app.note(say("copied"));
    } catch {
      app.note(say("copy_this"), location.href);
    }
  });

  // The wall

  const chosenLabel = () => (facts.labels ? (chosenClass >= 0 ? chosenClass : Math.floor(Math.random() * facts.labels)) : null);
  const seedsOfClass = () => (!facts.labels && chosenClass >= 0 ? found[chosenClass] : null);
  const chosenSeed = () => {
    const seeds = seedsOfClass();
    return seeds?.length ? seeds[Math.floor(Math.random() * seeds.length)] : randomSeed();
  };

  /** The side of a tile, in CSS pixels for each pixel of a sample: about 64 pixels a tile. */
  const tileScale = () => {
    let scale = Math.max(1, Math.round(64 / facts.width));
    if (app.heroes.length > 1 && stage.clientWidth < 600) scale /= 2; // so that both large pictures find room
    while (facts.width * scale > 112) scale /= 2;
    return scale;
  };

  app.layOut = () => {
    const scale = tileScale(), wide = facts.width * scale, high = facts.height * scale;
    const width = stage.clientWidth, height = stage.clientHeight;
    // On a low screen the dock is beside the picture, else below it.
    const beside = dock.offsetTop < height / 4, right = beside ? dock.offsetLeft : width;
    const below = beside ? 0 : height - dock.offsetTop;
    // The large picture covers a whole number of tiles, and each of its pixels is a whole number of the screen's.
    const multiple = Math.max(1, Math.round(1 / scale));
    const tilesFor = (columns, rows) => {
      const room = Math.min((right * 0.92) / wide / columns, ((height - below) * 0.94) / high / rows, Math.max(640, 0.6 * height) / Math.max(wide, high));
      return Math.max(1, Math.floor(room / multiple)) * multiple;
    };
    // Several are side by side or below each other, whichever makes them larger.
    const count = app.heroes.length, isRow = tilesFor(count, 1) >= tilesFor(1, count);
    const [columns, rows] = isRow ? [count, 1] : [1, count];
    const one = {width: tilesFor(columns, rows) * wide, height: tilesFor(columns, rows) * high};
    const box = {width: one.width * columns, height: one.height * rows};
    box.left = Math.round((right - box.width) / 2);
    box.top = Math.max(8, Math.round((height - below - box.height) / 2));
    app.heroes.forEach((picture, i) => Object.assign(picture.style, {
      left: `${box.left + (isRow ? i * one.width : 0)}px`,
      top: `${box.top + (isRow ? 0 : i * one.height)}px`,
      width: `${one.width}px`,
      height: `${one.height}px`,
    }));
    canvas.classList.toggle("smooth", one.width < facts.width);

    const places = [];
    // Its rectangle, since offsetLeft ignores the transform that centres the dock.
    const left = dock.getBoundingClientRect().left - stage.getBoundingClientRect().left;
    const hidden = (x, y) => x >= left && x + wide <= left + dock.offsetWidth && y > dock.offsetTop;
    for (let y = box.top - Math.ceil(box.top / high) * high; y < height; y += high) {
      for (let x = box.left - Math.ceil(box.left / wide) * wide; x < width; x += wide) {
        const inside = x >= box.left && x < box.left + box.width && y >= box.top && y < box.top + box.height;
        if (!inside && !hidden(x, y)) places.push({x, y});
      }
    }
    const distance = ({x, y}) => Math.hypot(x - box.left - box.width / 2, y - box.top - box.height / 2);
    places.sort((a, b) => distance(a) - distance(b));
    wall.replaceChildren();
    tiles = places.map(({x, y}, i) => {
      const tile = make("canvas", {width: facts.width, height: facts.height, className: "tile", id: `tile-${i}`, role: "option"});
      tile.setAttribute("aria-selected", "false");
      Object.assign(tile.style, {left: `${x}px`, top: `${y}px`, width: `${wide}px`, height: `${high}px`});
      wall.append(tile);
      return {tile, x, y};
    });
    active = -1;
    app.fillWall();
  };

  app.fillWall = () => {
    const seeds = seedsOfClass();
    tiles.forEach((one, i) => {
      const seed = seeds?.length ? seeds[(app.wall + i) % seeds.length] : app.wall + i;
      const label = facts.labels ? (chosenClass >= 0 ? chosenClass : seed % facts.labels) : null;
      one.place = placeAt(seed, facts.latentSize, label);
      one.tile.setAttribute("aria-label", app.nameOf(one.place));
    });
    painter.later("wall", tiles.map(({place}) => place), (i, rgba) => tiles[i] && drawPixels(tiles[i].tile, rgba, sides));
  };

  byId("shuffle").addEventListener("click", () => {
    app.wall = randomSeed();
    app.fillWall();
    app.changed();
  });

  const pick = (index) => {
    const {tile, place, x, y} = tiles[index];
    touched();
    tiles.forEach((one) => one.tile.setAttribute("aria-selected", String(one.tile === tile)));
    if (!calm()) fly(tile, x, y);
    app.go({...place, moves: new Array(8).fill(0)});
  };

  /** A copy of the tile grows into the large picture. */
  const fly = (tile, x, y) => {
    const copy = make("canvas", {className: "flying"});
    drawPixels(copy, tile.getContext("2d").getImageData(0, 0, facts.width, facts.height).data, sides);
    Object.assign(copy.style, {left: `${x}px`, top: `${y}px`, width: tile.style.width, height: tile.style.height});
    stage.append(copy);
    copy.getBoundingClientRect();
    const grow = hero.clientWidth / tile.clientWidth;
    copy.style.transform = `translate(${hero.offsetLeft - x}px, ${hero.offsetTop - y}px) scale(${grow})`;
    setTimeout(() => copy.remove(), 300);
  };

  const activate = (index) => {
    tiles[active]?.tile.classList.remove("active");
    active = index;
    tiles[active].tile.classList.add("active");
    wall.setAttribute("aria-activedescendant", tiles[active].tile.id);
  };

  wall.addEventListener("click", (event) => {
    const index = tiles.findIndex(({tile}) => tile === event.target);
    if (index >= 0) pick(index);
  });
  wall.addEventListener("keydown", (event) => {
    const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (step) activate(active < 0 ? 0 : neighbour(step));
    else if ((event.key === "Enter" || event.key === " ") && active >= 0) pick(active);
    else return;
    event.preventDefault();
  });

  /** The nearest tile in a direction; the active one if there is none. */
  const neighbour = ([dx, dy]) => {
    const {x, y} = tiles[active];
    let best = active, least = Infinity;
    tiles.forEach((tile, i) => {
      const along = (tile.x - x) * dx + (tile.y - y) * dy, across = Math.abs((tile.x - x) * dy) + Math.abs((tile.y - y) * dx);
      if (along > 0 && along + 3 * across < least) [best, least] = [i, along + 3 * across];
    });
    return best;
  };

  // Classes: those of the model, or the judge's classes of the first seeds

  const names = facts.labels ? facts.classes : app.page.classes?.names || [];
  app.showChips = () => {
    if (names.length < 2) return;
    byId("chips").hidden = false;
    byId("chips").replaceChildren(...[-1, ...names.keys()].map((index) => {
      const chip = make("button", {type: "button"}, index < 0 ? say("all_classes") : names[index]);
      chip.setAttribute("aria-pressed", String(index === chosenClass));
      chip.addEventListener("click", () => {
        chosenClass = index;
        app.showChips();
        byId("chips").children[index + 1].focus({preventScroll: true});
        app.fillWall();
        if (index >= 0 && (facts.labels || found[index].length)) {
          touched();
          app.go(facts.labels ? {...app.place, label: index} : placeAt(found[index][0], facts.latentSize));
        }
      });
      return chip;
    }));
  };

  let resized = 0, size = "";
  new ResizeObserver(() => {
    const now = `${stage.clientWidth}×${stage.clientHeight}×${dock.offsetHeight}`;
    if (now === size) return;
    size = now;
    clearTimeout(resized);
    resized = setTimeout(app.layOut, 120);
  }).observe(stage);

  /** For two seconds, the picture moves along a circle and back, so that one sees that it can be moved. */
  app.greet = async () => {
    if (calm()) return;
    const {place} = app, before = [...place.moves], started = performance.now();
    const untouched = () => app.place === place && !drag && !walking && !byId("hint").classList.contains("gone");
    for (let t = 0; t < 1 && untouched(); ) {
      await new Promise(requestAnimationFrame);
      t = Math.min(1, (performance.now() - started) / 2400);
      const radius = 1.6 * Math.sin(Math.PI * t), angle = 2 * Math.PI * t;
      if (!untouched()) return;
      place.moves = before.map((value, k) => value + (k === 0 ? radius * Math.cos(angle) : k === 1 ? radius * Math.sin(angle) : 0));
      if (t === 1) place.moves = before;
      app.describe();
      await app.draw();
    }
  };
}
