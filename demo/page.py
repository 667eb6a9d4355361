"""The page: its parts, and which action answers what is done to them."""

import dataclasses
import secrets
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import gradio as gr

from demo import convolutions, drawing
from demo.actions import LANGUAGES, Actions, words
from demo.models import Models
from demo.state import DIRECTIONS, MOST_MOVE, MOST_PICTURES, MOST_PINS, MOST_SCALE, MOST_SEED, TABS, State, place_at

# Pictures to choose from are buttons; what is told of a click is the button's number.
_CLICKED = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-index]');
  if (button && element.contains(button)) trigger('click', {index: Number(button.dataset.index)});
});
"""
# The address becomes the link, so that reloading and bookmarks keep the state too.
_COPY = """
(query) => {
  const link = location.origin + location.pathname + (query ? '?' + query : '');
  history.replaceState(null, '', link);
  if (navigator.clipboard) navigator.clipboard.writeText(link).catch(() => {});
  return link;
}
"""


def _index(event: gr.EventData) -> int:
    """The number of the button that was clicked; -1 where a browser sends something else."""
    number = event._data.get("index") if isinstance(event._data, dict) else None
    return number if isinstance(number, int) and number >= 0 else -1


class _Page:
    """The parts of the page that hold its state, and how they are read and written."""

    def __init__(self, said: dict[str, str], actions: Actions) -> None:
        self.say, self.actions = said.__getitem__, actions

    def lay_out(self, language: str) -> None:
        """Put the parts on the page."""
        say = self.say
        other = next(other for other in LANGUAGES if other != language)
        keep = "this.search = location.search"
        link = f'<a lang="{other}" href="../{other}/" onclick="{keep}">{say("other_language")}</a>'
        gr.HTML(f"<header><h1>{say('title')}</h1>{link}</header>")
        with gr.Row():
            self.model = gr.Dropdown(label=say("model"), min_width=260, elem_id="model")
            self.beside = gr.Dropdown(label=say("beside"), min_width=260, elem_id="beside")
        self.about = gr.HTML(elem_id="about")
        self.pins, self.tab = gr.State(State.pins), gr.State(State.tab)
        with gr.Accordion(say("pins"), elem_id="pins"):
            self._hint("pins_hint")
            self.tray = gr.HTML(js_on_load=_CLICKED, elem_id="tray")
        with gr.Tabs(elem_id="tabs") as self.tabs:
            self.leaves = {}
            for name in TABS:
                with gr.Tab(say(name), id=name, elem_id=f"tab-{name}") as self.leaves[name]:
                    getattr(self, f"_{name}")()
        with gr.Row(equal_height=True):
            self.copy = gr.Button(say("link"), scale=1, min_width=200, elem_id="copy")
            self.link = gr.Textbox(label=say("link_label"), interactive=False, scale=4, elem_id="link")

    def _hint(self, *names: str) -> None:
        gr.HTML(f'<p class="hint">{" ".join(map(self.say, names))}</p>')

    def _slider(self, low: float, high: float, value: float, step: float, name: str, label: str = "") -> gr.Slider:
        return gr.Slider(low, high, value, step=step, label=label or self.say(name), elem_id=name)

    def _seed(self, name: str) -> gr.Number:
        return gr.Number(0, label=self.say(name), precision=0, minimum=0, maximum=MOST_SEED, elem_id=name)

    def _draw(self) -> None:
        with gr.Row():
            self.first = self._seed("first")
            self.count = self._slider(1, MOST_PICTURES, State.count, 1, "count")
            self.spread = self._slider(0, MOST_SCALE, 1, 0.05, "spread", self.say("scale"))
        self._hint("scale_hint", "draw_hint")
        self.shuffle = gr.Button(self.say("shuffle"), variant="primary", elem_id="shuffle")
        self.grid = gr.HTML(js_on_load=_CLICKED, elem_id="grid")

    def _explore(self) -> None:
        with gr.Row():
            with gr.Column(min_width=280, elem_id="look"):
                self.picture = gr.HTML(elem_id="picture")
                with gr.Row():
                    self.pin = gr.Button(self.say("pin"), variant="primary", min_width=100, elem_id="pin")
                    self.alike = gr.Button(self.say("nearest"), min_width=100, elem_id="alike")
            with gr.Column(min_width=280):
                self.seed = self._seed("seed")
                self.scale = self._slider(0, MOST_SCALE, 1, 0.05, "scale")
                self._hint("directions_hint")
                self.moves = [
                    self._slider(
                        -MOST_MOVE,
                        MOST_MOVE,
                        0,
                        0.1,
                        f"direction-{number}",
                        self.say("direction").format(number=number),
                    )
                    for number in range(1, DIRECTIONS + 1)
                ]
                self.reset = gr.Button(self.say("reset"), elem_id="reset")
        self.found = gr.HTML(elem_id="found")

    def _between(self) -> None:
        with gr.Row():
            self.start = gr.Dropdown(label=self.say("from"), elem_id="start")
            self.end = gr.Dropdown(label=self.say("to"), elem_id="end")
        self.way = self._slider(0, 1, State.way, 0.01, "way")
        self._hint("way_hint")
        self.path = gr.HTML(elem_id="path")
        self.animate = gr.Button(self.say("animate"), elem_id="animate")
        self.moving = gr.HTML(elem_id="moving")

    def _calculate(self) -> None:
        self._hint("calculate_hint")
        with gr.Row():
            self.a = gr.Dropdown(label="A", elem_id="a")
            self.b = gr.Dropdown(label="− B", elem_id="b")
            self.c = gr.Dropdown(label="+ C", elem_id="c")
        self.total = gr.HTML(elem_id="total")

    def _training(self) -> None:
        self.moment = self._slider(1, 2, 1, 1, "moment")
        self.history = gr.HTML(elem_id="history")

    def _judge(self) -> None:
        self._hint("judge_hint")
        self.upload = gr.UploadButton(self.say("upload"), variant="primary", elem_id="upload")
        self.verdict = gr.HTML(elem_id="verdict")

    def _inside(self) -> None:
        self._hint("inside_hint")
        self.insides = gr.HTML(elem_id="insides")
        gr.HTML(drawing.heading(self.say("convolution")))
        self._hint("convolution_hint")
        kinds = [(self.say(f"kind_{kind}"), kind) for kind in convolutions.KINDS]
        self.kind = gr.Radio(kinds, value=kinds[0][1], label=self.say("kind"), elem_id="kind")
        example = convolutions.EXAMPLES[kinds[0][1]]
        with gr.Row():
            self.matrix, self.kernel = (
                gr.Textbox(text, label=self.say(name), lines=3, max_lines=9, elem_id=name)
                for name, text in zip(("matrix", "kernel"), example, strict=True)
            )
        self.worked = gr.HTML(self.actions.convolve(kinds[0][1], *example), js_on_load=_CLICKED, elem_id="worked")

    # What holds the state, and what is shown of it

    @property
    def place(self) -> list[gr.Number | gr.Slider]:
        """What holds the place that is explored."""
        return [self.seed, self.scale, *self.moves]

    @property
    def choices(self) -> list[gr.Dropdown]:
        """What is chosen from pins and classes."""
        return [self.start, self.end, self.a, self.b, self.c]

    @property
    def holders(self) -> dict[str, gr.components.Component]:
        """What holds each field of the state but its place."""
        names = [field.name for field in dataclasses.fields(State) if field.name != "place"]
        return {name: getattr(self, name) for name in names}

    @property
    def inputs(self) -> list[gr.components.Component]:
        """All that holds the state, as `state` reads it."""
        return [*self.holders.values(), *self.place]

    def state(self, values: Sequence[Any]) -> State:
        """The state from the values of `inputs`."""
        seed, scale, *moves = values[-len(self.place) :]
        held = dict(zip(self.holders, values, strict=False))
        return State.checked(**held, place=place_at(seed, scale, moves))

    def wire(self, page: gr.Blocks) -> None:
        """Say which action answers which event."""
        actions = self.actions
        panes = {
            "draw": (self.grid, actions.draw),
            "explore": (self.picture, actions.explore),
            "between": (self.path, actions.between),
            "calculate": (self.total, actions.calculate),
            "training": (self.history, actions.training),
            "judge": (self.verdict, lambda state: ""),
            "inside": (self.insides, actions.inside),
        }
        shown = [pane for pane, _ in panes.values()]

        def on(events: Any, work: Callable[..., Any], outputs: Any, inputs: Any = None, *, slow: bool = False) -> Any:
            """Do `work` at these events, of many that come together only the last; `slow` shows that it is under way.

            Not by Gradio's queue, which looks for results every 50 ms: a slider's picture would take twice as long.
            """
            return gr.on(
                events if isinstance(events, list) else [events],
                work,
                self.inputs if inputs is None else inputs,
                outputs,
                queue=False,
                trigger_mode="always_last",
                show_progress="full" if slow else "hidden",
                api_visibility="private",
            )

        def show(action: Callable[[State], str]) -> Callable[..., str]:
            return lambda *values: action(self.state(values))

        def pane(state: State) -> list[Any]:
            """What the open tab shows; the others are drawn when they are opened."""
            return [draw(state) if name == state.tab else gr.skip() for name, (_, draw) in panes.items()]

        def chosen(state: State) -> tuple[State, list[Any]]:
            """The state with ends that there are, and the drop-downs with these to choose from."""
            choices = actions.ends(state)
            values = [value for _, value in choices] or [""]
            names = ("start", "end", "a", "b", "c")
            first = {name: values[min(i, len(values) - 1)] for name, i in zip(names, (0, 1, 0, 1, 2), strict=True)}
            now: dict[str, Any] = {
                name: getattr(state, name) if getattr(state, name) in values else first[name] for name in names
            }
            updates = [gr.update(choices=choices, value=now[name] or None) for name in names]
            return dataclasses.replace(state, **now), updates

        def models(state: State) -> tuple[State, list[Any]]:
            """The state with a model that there is, and the drop-downs with those to choose from."""
            choices = actions.models()
            names = [name for _, name in choices]
            state = dataclasses.replace(
                state,
                model=state.model if state.model in names else (names or [""])[0],
                beside=state.beside if state.beside in names else "",
            )
            none = (self.say("no_model"), "")
            return state, [
                gr.update(choices=choices, value=state.model),
                gr.update(choices=[none, *choices], value=state.beside),
            ]

        def of_model(state: State) -> list[Any]:
            """What depends on which models are chosen."""
            state, ends = chosen(state)
            moments = actions.moments(state)
            state = dataclasses.replace(state, moment=min(state.moment, moments))
            moment = gr.update(maximum=max(2, moments), value=state.moment, interactive=moments > 1)
            return [actions.about(state), actions.tray(state), moment, *ends, "", "", *pane(state)]

        of_model_parts = [self.about, self.tray, self.moment, *self.choices, self.found, self.moving, *shown]

        def opened(request: gr.Request) -> list[Any]:
            state, dropdowns = models(State.from_query(request.query_params))
            place = [state.place.seed, state.place.scale, *state.place.moves]
            rest = [
                state.pins,
                state.tab,
                gr.update(selected=state.tab),
                state.first,
                state.count,
                state.spread,
                state.way,
            ]
            return [*dropdowns, *rest, *place, *of_model(state)]

        first = [self.model, self.beside, self.pins, self.tab, self.tabs, self.first, self.count, self.spread, self.way]
        on(page.load, opened, [*first, *self.place, *of_model_parts], [])
        on(
            [self.model.input, self.beside.input],
            lambda *values: of_model(self.state(values)),
            of_model_parts,
            slow=True,
        )
        for name, leaf in self.leaves.items():

            def turned(*values: Any, name: str = name) -> list[Any]:
                return [name, *pane(dataclasses.replace(self.state(values), tab=name))]

            on(leaf.select, turned, [self.tab, *shown])

        on([self.first.input, self.count.input, self.spread.input], show(actions.draw), self.grid)

        def shuffled(*values: Any) -> list[Any]:
            state = dataclasses.replace(self.state(values), first=secrets.randbelow(1_000_000))
            return [state.first, actions.draw(state)]

        on(self.shuffle.click, shuffled, [self.first, self.grid])

        def taken(event: gr.EventData, *values: Any) -> list[Any]:
            state = self.state(values)
            place = place_at(state.first + max(_index(event), 0), state.spread, [0] * DIRECTIONS)
            drawn = actions.explore(dataclasses.replace(state, place=place))
            return [place.seed, place.scale, *place.moves, gr.update(selected="explore"), "explore", drawn, ""]

        on(self.grid.click, taken, [*self.place, self.tabs, self.tab, self.picture, self.found])
        on([part.input for part in self.place], show(actions.explore), self.picture)

        def still(*values: Any) -> list[Any]:
            state = self.state(values)
            place = dataclasses.replace(state.place, moves=(0.0,) * DIRECTIONS)
            return [*place.moves, actions.explore(dataclasses.replace(state, place=place))]

        on(self.reset.click, still, [*self.moves, self.picture])
        on(self.alike.click, show(actions.nearest), self.found, slow=True)

        def keep(state: State) -> list[Any]:
            return [state.pins, actions.tray(state), *chosen(state)[1]]

        def pinned(*values: Any) -> list[Any]:
            state = self.state(values)
            pins = tuple(dict.fromkeys((*state.pins, state.place)))
            full = drawing.message(self.say("pins_full")) if len(pins) > MOST_PINS else ""
            kept, tray, *ends = keep(dataclasses.replace(state, pins=pins[:MOST_PINS]))
            return [kept, full + tray, *ends]

        def unpinned(event: gr.EventData, *values: Any) -> list[Any]:
            state, at = self.state(values), _index(event)
            return keep(dataclasses.replace(state, pins=tuple(pin for i, pin in enumerate(state.pins) if i != at)))

        on(self.pin.click, pinned, [self.pins, self.tray, *self.choices])
        on(self.tray.click, unpinned, [self.pins, self.tray, *self.choices])
        on([self.start.input, self.end.input, self.way.input], show(actions.between), self.path)
        on(self.animate.click, show(actions.animation), self.moving, slow=True)
        on([self.a.input, self.b.input, self.c.input], show(actions.calculate), self.total, slow=True)
        on(self.moment.input, show(actions.training), self.history)

        def asked(uploaded: str | None, *values: Any) -> str:
            return actions.ask(self.state(values), Path(uploaded)) if uploaded else ""

        on(self.upload.upload, asked, self.verdict, [self.upload, *self.inputs], slow=True)

        def example(kind: str) -> list[str]:
            texts = convolutions.EXAMPLES[kind]
            return [*texts, actions.convolve(kind, *texts)]

        def pointed(event: gr.EventData, kind: str, matrix: str, kernel: str) -> str:
            return actions.convolve(kind, matrix, kernel, _index(event))

        texts = [self.kind, self.matrix, self.kernel]
        on(self.kind.input, example, [self.matrix, self.kernel, self.worked], self.kind)
        on([self.matrix.change, self.kernel.change], actions.convolve, self.worked, texts)
        on(self.worked.click, pointed, self.worked, texts)
        on(self.copy.click, lambda *values: self.state(values).query(), self.link).then(
            None, self.link, self.link, js=_COPY, api_visibility="private"
        )


def build(models: Models, language: str) -> gr.Blocks:
    """The page in a language of LANGUAGES."""
    said = words(language)
    with gr.Blocks(title=said["title"], analytics_enabled=False) as page:
        parts = _Page(said, Actions(models, said))
        parts.lay_out(language)
        parts.wire(page)
    return page


def style() -> str:
    """The page's own style sheet."""
    return (resources.files("demo") / "page.css").read_text(encoding="utf-8")
