// Three pictures A, B, C: a film from one to the next, and the sum A − B + C.

const FRAMES_EACH = 24, FRAME_MILLISECONDS = 50, STRIP_EACH = 4;

function setUpMix(app) {
  const {facts, painter, directions} = app;
  const sides = {width: facts.width, height: facts.height};
  const slots = [...document.querySelectorAll(".slot")], tray = byId("tray");
  let armed = 0, frames = [], playing = false, at = 0, sum = null;
  const offered = [];
  const small = (canvas, room = 64) => fit(canvas, sides, room);

  // The tray

  const offer = (place, name, first = false) => {
    const canvas = make("canvas", {"aria-hidden": "true"}), button = make("button", {type: "button"}, canvas);
    small(canvas);
    const label = name ? say("mean_of", {name}) : app.nameOf(place);
    button.setAttribute("aria-label", label);
    button.title = label;
    if (name) button.append(make("span", {}, `⌀ ${name}`));
    const one = {place, button, canvas, name};
    if (first) offered.unshift(one);
    else offered.push(one);
    draggable(button, canvas, one);
    tray[first ? "prepend" : "append"](button);
    painter.now(`tray ${Math.random()}`, [place]).then((rgba) => rgba && drawPixels(canvas, rgba, sides));
  };

  const frozen = (place) => ({...place, base: place.base.slice(), moves: [...place.moves]});

  app.keep = (place) => {
    offer(frozen(place), "", true);
    if (offered.length > 28) offered.splice(offered.findLastIndex(({name}) => !name), 1)[0].button.remove();
    app.note(say("kept"));
  };

  app.fillTray = () => {
    offered.splice(0).forEach(({button}) => button.remove());
    const labels = facts.labels;
    app.first.forEach((place) => offer(place));
    app.page.classes?.names.forEach((name, i) => {
      const mean = app.page.classes.means[i];
      // A mean of z is far shorter than a z; this is the length that the sample stage gives it.
      if (mean && !labels) offer(placeOf(rescaled(floatsOf(mean), Math.sqrt(facts.latentSize / 3))), name);
    });
  };

  const rescaled = (z, length) => z.map((value) => (value * length) / (norm(z) || 1));

  /** A picture of the tray is dragged onto a slot, by mouse or by finger, or put into the armed slot by a click. */
  const draggable = (button, canvas, one) => {
    let from = null, ghost = null, dragged = false;
    const slotAt = (event) => document.elementsFromPoint(event.clientX, event.clientY).map((element) => element.closest(".slot")).find(Boolean);
    button.addEventListener("pointerdown", (event) => {
      from = {x: event.clientX, y: event.clientY};
      dragged = false;
      button.setPointerCapture(event.pointerId);
    });
    button.addEventListener("pointermove", (event) => {
      if (!from || Math.hypot(event.clientX - from.x, event.clientY - from.y) < 6) return;
      if (!ghost) {
        dragged = true;
        ghost = make("canvas", {className: "ghost", "aria-hidden": "true"});
        drawPixels(ghost, canvas.getContext("2d").getImageData(0, 0, facts.width, facts.height).data, sides);
        small(ghost);
        document.body.append(ghost);
      }
      Object.assign(ghost.style, {left: `${event.clientX - 30}px`, top: `${event.clientY - 30}px`});
      const over = slotAt(event);
      slots.forEach((slot) => slot.classList.toggle("over", slot === over));
    });
    const end = (event) => {
      if (ghost) {
        const slot = event.type === "pointerup" && slotAt(event);
        if (slot) put(Number(slot.dataset.slot), one.place);
        ghost.remove();
        slots.forEach((other) => other.classList.remove("over"));
      }
      from = ghost = null;
    };
    button.addEventListener("pointerup", end);
    button.addEventListener("pointercancel", end);
    button.addEventListener("click", () => dragged || put(armed, one.place));
  };

  // The slots

  const arm = (index) => {
    armed = index;
    slots.forEach((slot, i) => slot.setAttribute("aria-pressed", String(i === index)));
  };
  slots.forEach((slot, i) => slot.addEventListener("click", () => arm(i)));

  const put = (index, place) => {
    app.mix[index] = frozen(place);
    app.mixed = true;
    arm((index + 1) % 3);
    app.mixAgain();
    app.write();
    if (!playing && !calm()) play();
  };

  app.mixAgain = () => {
    painter.now("slots", app.mix).then((rgba) => {
      if (!rgba) return;
      slots.forEach((slot, i) => {
        const canvas = slot.querySelector("canvas");
        fit(canvas, sides, screenWidth() < 600 ? 80 : 128);
        drawPixels(canvas, rgba, sides, i);
        slot.setAttribute("aria-label", say("slot", {name: "ABC"[i], place: app.nameOf(app.mix[i])}));
      });
    });
    add();
    film();
  };

  // The sum

  const add = async () => {
    const [a, b, c] = app.mix.map((place) => zOf(place, directions));
    const z = a.map((value, i) => value - b[i] + c[i]);
    const lengths = [a, b, c].map(norm);
    // Without this, a sum of three is √3 times as long as a z: a place where the generator was never trained.
    sum = placeOf(norm(z) > 1e-3 ? rescaled(z, Math.max(...lengths)) : z, app.mix[0].label);
    const rgba = await painter.now("sum", [sum, ...app.mix]);
    if (!rgba) return;
    fit(byId("sum"), sides, 288);
    drawPixels(byId("sum"), rgba, sides);
    const parts = [0, 1, 2].flatMap((i) => {
      const canvas = make("canvas");
      small(canvas, 64);
      drawPixels(canvas, rgba, sides, i + 1);
      return [["", "−", "+"][i], canvas];
    });
    byId("equation").replaceChildren(...parts.filter((part) => part !== ""), "=");
  };
  byId("sum-class").hidden = !facts.labels;
  byId("sum-open").addEventListener("click", () => {
    app.go(sum);
    byId("play").scrollIntoView();
  });

  // The film

  const film = () => {
    const ends = app.mix.map((place) => zOf(place, directions));
    const places = [0, 1, 2].flatMap((leg) => Array.from({length: FRAMES_EACH}, (_, i) => {
      const t = i / FRAMES_EACH;
      return placeOf(slerp(ends[leg], ends[(leg + 1) % 3], (1 - Math.cos(Math.PI * t)) / 2), app.mix[t < 0.5 ? leg : (leg + 1) % 3].label);
    }));
    frames = [];
    fit(byId("film"), sides, 288);
    for (const id of ["save-gif", "save-webm", "save-strip"]) byId(id).disabled = true;
    painter.later("film", places, (i, rgba) => {
      frames[i] = rgba.slice();
      if (i === Math.floor(at)) showFrame();
      if (i === places.length - 1) for (const id of ["save-gif", "save-webm", "save-strip"]) byId(id).disabled = false;
    });
  };

  const showFrame = () => {
    const rgba = frames[Math.floor(at)];
    if (rgba) drawPixels(byId("film"), rgba, sides);
    byId("film-at").value = at / (3 * FRAMES_EACH);
  };

  const play = async () => {
    playing = true;
    dress(byId("film-play"), "pause", "stop");
    let last = performance.now();
    while (playing) {
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      if (frames.length === 3 * FRAMES_EACH) at = (at + (now - last) / FRAME_MILLISECONDS) % frames.length;
      last = now;
      showFrame();
    }
  };
  const stop = () => {
    playing = false;
    dress(byId("film-play"), "play", "play_film");
  };
  byId("film-play").addEventListener("click", () => (playing ? stop() : play()));
  byId("film-at").addEventListener("input", () => {
    stop();
    at = Math.min(3 * FRAMES_EACH - 1, Number(byId("film-at").value) * 3 * FRAMES_EACH);
    showFrame();
  });

  const scale = Math.max(1, Math.round(256 / facts.width));
  byId("save-gif").addEventListener("click", () =>
    download(new Blob([gifOf(frames.map(opaque), sides, scale, FRAME_MILLISECONDS)], {type: "image/gif"}), "film.gif"));
  byId("save-strip").addEventListener("click", () => {
    const every = FRAMES_EACH / STRIP_EACH;
    const some = frames.filter((_, i) => i % every === 0 && i <= 2 * FRAMES_EACH);
    savePng(some, sides, Math.max(1, Math.round(128 / facts.width)), "film.png");
  });
  const type = videoType();
  byId("save-webm").hidden = !type;
  byId("save-webm").addEventListener("click", async () => {
    byId("save-webm").disabled = true;
    download(await recordVideo(frames.map(opaque), sides, scale, FRAME_MILLISECONDS, type), `film.${type.startsWith("video/mp4") ? "mp4" : "webm"}`);
    byId("save-webm").disabled = false;
  });
  arm(0);
}
