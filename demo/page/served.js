// What the server of `make demo` adds: other models, a second one on the same z, and what needs Python.

/** An error whose reason the page has words for, if there are any. */
class Trouble extends Error {
  constructor({error, reason}) {
    super(error);
    this.reason = reason;
  }
}

const NO_ANSWER = {error: "", reason: "no_answer"};

/** The lines of JSON with which the server answers about a model, each as soon as it is there. Fails with a Trouble. */
async function* linesOf(path, model, body, more = "") {
  let reader, text = "";
  const read = async () => {
    try {
      reader ??= (await fetch(`${path}?model=${encodeURIComponent(model)}${more}`, body === undefined ? {} : {method: "POST", body})).body
        .pipeThrough(new TextDecoderStream()).getReader();
      return await reader.read();
    } catch {
      throw new Trouble(NO_ANSWER);
    }
  };
  const parsed = (line) => {
    try {
      return JSON.parse(line);
    } catch {
      throw new Trouble(NO_ANSWER); // the server was stopped in the middle of the line
    }
  };
  for (let done = false; !done; ) {
    let value;
    ({done, value = "\n"} = await read());
    const lines = (text + value).split("\n");
    text = lines.pop();
    for (const line of lines.filter(Boolean)) {
      const answer = parsed(line);
      if (answer.error !== undefined) throw new Trouble(answer);
      yield answer;
    }
  }
}

/** The server's only line. */
async function ask(...request) {
  let answer;
  for await (answer of linesOf(...request));
  if (!answer) throw new Trouble(NO_ANSWER);
  return answer;
}

ADDED.push((app) => {
  const {facts, directions} = app;
  const served = JSON.parse(byId("served").textContent);
  const query = new URLSearchParams(location.search);
  const excuse = ({message, reason}) => {
    const key = `error_${reason}`;
    return WORDS[key] ? say(key, {reason: message, megabytes: served.megabytes}) : message;
  };

  // The models

  const hero = byId("hero");
  let second = null;

  const nameOf = (name) => say("of_kind", {name, kind: say(`kind_${served.models[name]}`)});
  const fill = (select, chosen, ...first) => {
    const names = Object.keys(served.models);
    select.replaceChildren(...[...first, ...names].map((name) => make("option", {value: name}, name ? nameOf(name) : say("none_beside"))));
    select.value = chosen;
  };
  byId("model").addEventListener("change", () => {
    query.set("model", byId("model").value);
    app.write();
    location.search = query; // the fragment stays, and with it the picture
  });

  const describe = () => {
    for (const [picture, name] of [[hero, served.model], [second?.picture, second?.name]]) {
      if (!picture) continue;
      picture.querySelector(".name")?.remove();
      if (second) picture.append(make("span", {className: "name"}, name));
    }
  };

  const leave = () => {
    if (!second) return;
    second.engine.stop();
    second.picture.remove();
    second = null;
    app.heroes.length = 1;
    describe();
  };

  const why = (name, other) => {
    if (other.facts.latentSize !== facts.latentSize)
      return say("other_z", {name, model: served.model, its: other.facts.latentSize, ours: facts.latentSize});
    if (!other.facts.conditional) return ""; // it draws the same z without the class
    if (!facts.labels) return say("needs_class", {name, model: served.model});
    const same = JSON.stringify(other.facts.classes) === JSON.stringify(facts.classes);
    return same ? "" : say("other_classes", {name, model: served.model});
  };

  const join = async (name) => {
    leave();
    if (name) {
      app.note(say("loading", {name}));
      const payload = await ask("/payload", name);
      const reason = why(name, payload);
      if (reason) throw new Error(reason);
      const engine = await Engine.start(payload);
      const canvas = make("canvas", {width: engine.facts.width, height: engine.facts.height, "aria-hidden": "true"});
      const picture = make("div", {className: "hero second", id: "hero-second", role: "img"}, canvas);
      picture.setAttribute("aria-label", nameOf(name));
      hero.after(picture);
      second = {name, engine, canvas, picture, painter: new Painter(engine, directions, (error) => app.note(error.message))};
      app.heroes.push(picture);
      app.movable(picture);
      describe();
      byId("note").hidden = true;
    }
  };

  const drawFirst = app.draw;
  app.draw = async () => {
    const drawn = drawFirst();
    if (second) {
      const {engine, canvas, painter, picture} = second;
      const rgba = await painter.now("hero", [app.place]);
      if (rgba) {
        drawPixels(canvas, rgba, engine.facts);
        picture.dataset.drawn = String(1 + Number(picture.dataset.drawn || 0));
      }
    }
    await drawn;
  };

  const choose = async (name) => {
    try {
      await join(name);
    } catch (error) {
      name = "";
      const reason = error instanceof Trouble ? say("not_shown", {name: byId("second").value, reason: excuse(error)}) : error.message;
      byId("second").value = "";
      app.note(reason);
    }
    if (name) query.set("second", name);
    else query.delete("second");
    history.replaceState(null, "", `${location.pathname}${String(query) && `?${query}`}${location.hash}`);
    app.layOut();
    app.draw();
  };
  byId("second").addEventListener("change", () => choose(byId("second").value));

  // What needs Python

  const pictures = (addresses, alts, kind = "") =>
    make("div", {className: `found ${kind}`}, ...addresses.map((src, i) => make("img", {src, alt: alts(i)})));
  const trouble = (error) => make("p", {className: "trouble"}, excuse(error));
  const busy = (button, text, into) => {
    button.disabled = true;
    into.replaceChildren(make("p", {className: "small"}, text));
  };
  const shares = (share) => Math.round(share * 100);

  const nearest = (answer) =>
    answer.error !== undefined
      ? [trouble(new Trouble(answer))]
      : [
          pictures(answer.pictures, (i) => say("nearest_alt", {number: i + 1})),
          make("p", {className: "small"}, say("nearest_about", {count: grouped(answer.searched)})),
        ];

  const preview = () => {
    const canvas = byId("nearest-of");
    fit(canvas, facts, 96);
    if (app.pixels) drawPixels(canvas, app.pixels, facts);
  };
  byId("nearest-find").addEventListener("click", async () => {
    const into = byId("nearest-found"), button = byId("nearest-find");
    busy(button, say("working"), into);
    preview();
    try {
      const body = JSON.stringify({z: Array.from(zOf(app.place, directions)), class: app.place.label});
      into.replaceChildren(...nearest(await ask("/nearest", served.model, body)));
    } catch (error) {
      into.replaceChildren(trouble(error));
    }
    button.disabled = false;
  });

  let own = null;
  const asClass = byId("own-class");
  const ofClass = () => (facts.labels ? `&class=${asClass.value}` : "");
  const upload = async (file) => {
    const into = byId("own-found"), button = byId("own-choose");
    busy(button, say("working"), into);
    own = null;
    asClass.disabled = true;
    byId("own-invert").disabled = true;
    byId("own-sample").replaceChildren();
    try {
      // Firefox and Safari report no answer if the server refuses a file while they still send it.
      if (file.size > served.megabytes << 20) throw new Trouble({error: "", reason: "too_many_bytes"});
      const answer = await ask("/judge", served.model, file, ofClass());
      const output = shown(answer.output, 3), text = (key, values) => make("p", {className: "result"}, say(key, values));
      const lines = [text(answer.probability ? "score_probability" : "score_output", {output})];
      for (const kind of ["samples", "real"]) {
        const others = answer[kind];
        if (others) lines.push(text(`score_${kind}`, {share: shares(others.share), count: grouped(others.count)}));
      }
      const verdict = make("div", {className: "verdict"}, make("img", {src: answer.picture, alt: say("own_alt")}), make("div", {}, ...lines));
      into.replaceChildren(verdict, make("p", {className: "small"}, say("score_about")), ...nearest(answer.nearest));
      own = file;
      byId("own-invert").disabled = false;
    } catch (error) {
      into.replaceChildren(trouble(error));
    }
    button.disabled = asClass.disabled = false;
  };
  asClass.addEventListener("change", () => own && upload(own));
  byId("own-choose").addEventListener("click", () => byId("own-file").click());
  byId("own-file").addEventListener("change", () => {
    const [file] = byId("own-file").files;
    if (file) upload(file);
    byId("own-file").value = ""; // the same file can be chosen again
  });
  const card = byId("own");
  for (const name of ["dragenter", "dragover"]) card.addEventListener(name, (event) => {
    event.preventDefault();
    card.classList.add("over");
  });
  for (const name of ["dragleave", "drop"]) card.addEventListener(name, () => card.classList.remove("over"));
  card.addEventListener("drop", (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) upload(file);
  });
  document.addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    if (file && !byId("own-choose").disabled) upload(file);
  });

  byId("own-invert").addEventListener("click", async () => {
    const into = byId("own-sample"), bar = byId("own-progress"), buttons = [byId("own-invert"), byId("own-choose"), asClass];
    let sample = null;
    buttons.forEach((button) => busy(button, say("searching"), into));
    bar.hidden = false;
    bar.removeAttribute("value"); // it has not started
    try {
      for await (const line of linesOf("/invert", served.model, own)) {
        if (line.found) sample = line.found;
        else into.firstChild.textContent = say(line.waiting ? "waiting" : "searching");
        if (line.share) bar.value = line.share;
      }
      if (!sample) throw new Trouble(NO_ANSWER);
      into.replaceChildren(...found(sample));
    } catch (error) {
      into.replaceChildren(trouble(error));
    }
    bar.hidden = true;
    buttons.forEach((button) => (button.disabled = false));
  });
  const found = ({z, class: label, picture, sample, pixels, random}) => {
    const open = make("button", {type: "button"}, say("explore_this"));
    open.addEventListener("click", () => {
      app.go(placeOf(floatsOf(z), label));
      byId("play").scrollIntoView();
    });
    return [
      pictures([picture, sample], (i) => say(i ? "sample_alt" : "own_alt"), "two"),
      make("p", {className: "result"}, say("inverted", {pixels: shown(pixels, 1), random: shown(random, 1)})),
      ...(label === null ? [] : [make("p", {className: "result"}, say("inverted_class", {name: facts.classes[label]}))]),
      make("div", {className: "buttons"}, open),
    ];
  };

  app.speakAdded = () => {
    fill(byId("model"), served.model);
    fill(byId("second"), second?.name || "", "");
    document.querySelector('[data-w="own_lead"]').textContent = say("own_lead", {megabytes: served.megabytes});
    byId("python-missing").textContent = say("error_no_model", {reason: served.missing});
    describe();
  };
  byId("models").hidden = Object.keys(served.models).length < 2;
  byId("python-missing").hidden = !served.missing;
  byId("python-parts").hidden = Boolean(served.missing);
  byId("own-invert").disabled = true;
  byId("own-as").hidden = !facts.labels;
  if (facts.labels) {
    asClass.append(...facts.classes.map((name, value) => make("option", {value}, name)));
    asClass.value = app.place.label;
  }
  new IntersectionObserver(([{isIntersecting}]) => isIntersecting && preview()).observe(byId("nearest-of"));
  if (served.note) setTimeout(() => app.note(say("not_shown", {name: query.get("model"), reason: served.note})));
  else if (served.missing) setTimeout(() => app.note(say("committed", {reason: served.missing})));
  if (query.get("second") in served.models) setTimeout(() => choose(query.get("second")));
});
