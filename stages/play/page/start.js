// Start: read the payload and the link, start the engine, and set up each part of the page.

/** What a server adds to the page: functions that set it up, called with `app` before the first picture is drawn. */
const ADDED = [];

/** Run `work` when calls have stopped coming for so many milliseconds. */
function settled(work, milliseconds) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, milliseconds);
  };
}

async function start() {
  const payload = JSON.parse(byId("payload").textContent);
  WORDS = JSON.parse(byId("words").textContent);
  const app = {payload, page: payload.page || {}, wall: 0, chosen: {}};

  app.note = (text, link = "") => {
    const close = make("button", {type: "button"}, say("close"));
    close.addEventListener("click", () => (byId("note").hidden = true));
    const field = make("input", {type: "text", readOnly: true, value: link});
    field.setAttribute("aria-label", say("link"));
    byId("note").replaceChildren(close, text, ...(link ? [" ", field] : []));
    byId("note").hidden = false;
    if (link) field.select();
    else if (text === say("copied") || text === say("kept")) setTimeout(() => (byId("note").hidden = true), 2500);
  };
  const fail = (error) => {
    byId("note").replaceChildren(say("failed", {reason: error.message}));
    byId("note").hidden = false;
  };

  // A conditional generator draws a place under each class, so the class is part of its name.
  app.nameOf = (place) => {
    const where = place.seed === null ? say("own_place") : say("seed", {seed: place.seed});
    return place.label === null ? where : say("of_class", {where, name: payload.facts.classes[place.label]});
  };

  const labels = labelsOf(payload.facts);
  const said = readFragment(location.hash, {latentSize: payload.facts.latentSize, labels});
  app.chosen = {lang: said.lang, theme: said.theme};
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const paint = () => (document.documentElement.dataset.theme = app.chosen.theme || (system.matches ? "dark" : "light"));
  paint();
  speak(app.chosen.lang || (/^zh\b/.test(navigator.language) ? "zh" : "en"));

  try {
    app.engine = await Engine.start(payload);
  } catch (error) {
    return fail(error);
  }
  const facts = (app.facts = Object.assign(app.engine.facts, {labels}));
  app.directions = (payload.page?.directions || []).map(floatsOf);
  app.painter = new Painter(app.engine, app.directions, fail);
  const first = app.page.start?.length ? app.page.start : [...Array(12).keys()];
  app.first = first.map((seed, i) => placeAt(seed, facts.latentSize, labels ? i % labels : null));
  app.place = said.place || {...app.first[0], moves: new Array(8).fill(0)};
  app.wall = said.wall ?? 0;
  app.mix = said.mix || [0, 4, 6].map((i) => app.first[i % app.first.length]);
  app.mixed = Boolean(said.mix);
  if (labels) for (const place of [app.place, ...app.mix]) place.label ??= 0;

  app.write = () => {
    const fragment = writeFragment({place: app.place, wall: app.wall, mix: app.mixed ? app.mix : null, ...app.chosen}, app.directions);
    try {
      history.replaceState(null, "", fragment);
    } catch {
      location.hash = fragment;
    }
  };
  const visible = new Set();
  const write = settled(app.write, 400);
  const tell = settled(() => visible.has("how") && told !== app.place && ((told = app.place), app.tellStory().catch(fail)), 150);
  const map = settled(() => visible.has("map") && app.drawMap(), 150);
  let told = null;
  app.changed = () => {
    write();
    told = null;
    tell();
  };

  const sayAll = () => {
    speak(language);
    byId("language").textContent = language === "en" ? "中文" : "English";
    byId("language").lang = language === "en" ? "zh" : "en";
    document.title = `${say("title")} · ${facts.title}`;
    const licence = facts.licence === "not stated" ? "" : ` (${facts.licence})`;
    byId("facts").textContent = say("facts", {
      data: facts.title + licence, images: grouped(facts.images), hash: facts.generator.slice(0, 12), backend: facts.backend,
      requests: say("requests"), same: say(labels ? "same_class" : "same_seed"), picked: say(app.page.start?.length ? "picked_first" : "picked_none"),
    });
    app.describe();
    app.showChips();
    app.fillTray();
    app.mixAgain();
    app.speakMap();
    app.speakTraining?.();
    app.speakGrid();
    app.speakAdded?.();
    told = null;
    tell();
    map();
  };
  byId("language").addEventListener("click", () => {
    language = app.chosen.lang = language === "en" ? "zh" : "en";
    sayAll();
    app.write();
  });
  const repaint = () => {
    paint();
    told = null;
    tell();
  };
  byId("theme").addEventListener("click", () => {
    app.chosen.theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    repaint();
    app.write();
  });
  system.addEventListener("change", repaint);

  try {
    setUpPlay(app);
    setUpMix(app);
    setUpMap(app);
    setUpGrid(app);
    setUpStory(app);
    await setUpTraining(app);
    for (const setUp of ADDED) await setUp(app);
  } catch (error) {
    return fail(error);
  }
  app.layOut();
  app.go(app.place, {quiet: true});
  sayAll();
  new IntersectionObserver((entries) => entries.forEach(({target, isIntersecting}) => {
    if (isIntersecting) visible.add(target.id);
    else visible.delete(target.id);
    if (isIntersecting && target.id === "map") app.centreMap();
    tell();
  }), {rootMargin: "200px"}).observe(byId("map"));
  const watcher = new IntersectionObserver(([{isIntersecting}]) => {
    if (isIntersecting) visible.add("how");
    else visible.delete("how");
    tell();
  }, {rootMargin: "200px"});
  watcher.observe(byId("how"));
  window.addEventListener("resize", () => {
    map();
    told = null;
    tell();
  });
  if (said.wrong) app.note(say("wrong_link"));
  document.documentElement.dataset.ready = "true";
  app.greet();
}

byId("too-old").remove();
document.addEventListener("DOMContentLoaded", start);
