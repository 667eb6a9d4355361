"""The page: the choice of models, the pinned pictures, the tabs and the link."""

import dataclasses
from importlib import resources
from typing import Any

import gradio as gr

from demo import drawing
from demo.actions import LANGUAGES, Actions, words
from demo.board import ENDS, ON_CLICK, Board, Tab, clicked
from demo.models import Models
from demo.state import MAX_PINS, State
from demo.tabs import Between, Calculate, Discriminator, Draw, Explore, Inside, Training

# The link goes into the address bar too, so that a reload or a bookmark keeps the state.
_COPY = """
(query) => {
  const link = location.origin + location.pathname + (query ? '?' + query : '');
  history.replaceState(null, '', link);
  if (navigator.clipboard) navigator.clipboard.writeText(link).catch(() => {});
  return link;
}
"""


class _Pinned:
    """The row of pinned pictures, which `between` and `calculate` choose from."""

    def __init__(self, board: Board) -> None:
        self.board, self.say, self.actions = board, board.say, board.actions

    def lay_out(self) -> None:
        """The row, which can be folded away."""
        self.board.hold("pins", gr.State(State.pins))
        with gr.Accordion(self.say("pins"), elem_id="pins"):
            self.board.hint("pins_hint")
            self.tray = gr.HTML(js_on_load=ON_CLICK, elem_id="tray")

    def wire(self, pin: gr.Button) -> None:
        """Pin the explored place with the button `pin`; unpin the picture that is clicked."""
        board = self.board
        changes = [*board.holders("pins"), self.tray, *board.holders(*ENDS)]
        board.on(pin.click, board.from_state(self._pin), changes)
        board.on(self.tray.click, self._unpin, changes)

    def _pin(self, state: State) -> list[Any]:
        pins = tuple(dict.fromkeys((*state.pins, state.place)))
        full = drawing.message(self.say("pins_full")) if len(pins) > MAX_PINS else ""
        pins, tray, *ends = self._update(dataclasses.replace(state, pins=pins[:MAX_PINS]))
        return [pins, full + tray, *ends]

    def _unpin(self, event: gr.EventData, *values: Any) -> list[Any]:
        state, number = self.board.state(values), clicked(event)
        pins = tuple(pin for i, pin in enumerate(state.pins) if i != number)
        return self._update(dataclasses.replace(state, pins=pins))

    def _update(self, state: State) -> list[Any]:
        return [state.pins, self.actions.tray(state), *self.board.choose_ends(state)[1]]


class _Page:
    """The whole page."""

    def __init__(self, board: Board) -> None:
        self.board, self.say, self.actions = board, board.say, board.actions
        self.pinned, self.explore = _Pinned(board), Explore(board)
        self.between, self.training = Between(board), Training(board)
        self.tabs: tuple[Tab, ...] = (
            Draw(board, self.explore),
            self.explore,
            self.between,
            Calculate(board),
            self.training,
            Discriminator(board),
            Inside(board),
        )

    def lay_out(self, language: str) -> None:
        """Create the components."""
        say, board = self.say, self.board
        other = next(other for other in LANGUAGES if other != language)
        keep = "this.search = location.search"
        link = f'<a lang="{other}" href="../{other}/" onclick="{keep}">{say("other_language")}</a>'
        gr.HTML(f"<header><h1>{say('title')}</h1>{link}</header>")
        with gr.Row():
            self.models = [
                board.hold(name, gr.Dropdown(label=say(name), min_width=260, elem_id=name))
                for name in ("model", "beside")
            ]
        self.about = gr.HTML(elem_id="about")
        self.pinned.lay_out()
        board.hold("tab", gr.State(State.tab))
        with gr.Tabs(elem_id="tabs") as board.tabs:
            self.leaves = {}
            for tab in self.tabs:
                with gr.Tab(say(tab.name), id=tab.name, elem_id=f"tab-{tab.name}") as self.leaves[tab.name]:
                    tab.lay_out()
        with gr.Row(equal_height=True):
            self.copy = gr.Button(say("link"), scale=1, min_width=200, elem_id="copy")
            self.link = gr.Textbox(label=say("link_label"), interactive=False, scale=4, elem_id="link")

    def wire(self, page: gr.Blocks) -> None:
        """Attach the actions to the events: of the page, of each tab, of the pinned pictures and of the link."""
        board = self.board
        plain = ("first", "count", "spread", "way")
        start = [*self.models, *board.holders("pins", "tab"), board.tabs, *board.holders(*plain), *board.place]
        board.on(page.load, self._open, [*start, *self._model_parts], [])
        chosen = [dropdown.input for dropdown in self.models]
        board.on(chosen, board.from_state(self._show_models), self._model_parts, slow=True)
        for name, leaf in self.leaves.items():
            board.on(leaf.select, self._turn_to(name), [*board.holders("tab"), *self._panes])
        for tab in self.tabs:
            tab.wire()
        self.pinned.wire(self.explore.pin)
        board.on(self.copy.click, board.from_state(State.query), self.link).then(
            None, self.link, self.link, js=_COPY, api_visibility="private"
        )

    @property
    def _panes(self) -> list[gr.HTML]:
        return [tab.pane for tab in self.tabs]

    @property
    def _model_parts(self) -> list[gr.components.Component]:
        """The components that `_show_models` updates."""
        ends = self.board.holders(*ENDS)
        by_button = [self.explore.neighbours, self.between.animation]
        return [self.about, self.pinned.tray, self.training.moment, *ends, *by_button, *self._panes]

    def _show_models(self, state: State) -> list[Any]:
        """Everything that depends on the chosen models. Empties the panes that a button fills."""
        state, ends = self.board.choose_ends(state)
        state, moment = self.training.limit(state)
        return [self.actions.about(state), self.actions.tray(state), moment, *ends, "", "", *self._draw(state)]

    def _draw(self, state: State) -> list[Any]:
        """The panes: that of the open tab is drawn, the others once they are opened."""
        return [tab.draw(state) if tab.name == state.tab else gr.skip() for tab in self.tabs]

    def _turn_to(self, name: str) -> Any:
        """An action that opens the tab `name`."""
        return self.board.from_state(lambda state: [name, *self._draw(dataclasses.replace(state, tab=name))])

    def _open(self, request: gr.Request) -> list[Any]:
        """The page in the state of the link that was followed."""
        state, models = self._choose_models(State.from_query(request.query_params))
        tab = [state.tab, gr.update(selected=state.tab)]
        plain = [state.first, state.count, state.spread, state.way]
        place = [state.place.seed, state.place.scale, *state.place.moves]
        return [*models, state.pins, *tab, *plain, *place, *self._show_models(state)]

    def _choose_models(self, state: State) -> tuple[State, list[Any]]:
        """The state with models that exist, and an update of both drop-downs: its choices and its value."""
        choices = self.actions.models()
        names = [name for _, name in choices]
        model = state.model if state.model in names else (names or [""])[0]
        beside = state.beside if state.beside in names else ""
        updates = [
            gr.update(choices=choices, value=model),
            gr.update(choices=[(self.say("no_model"), ""), *choices], value=beside),
        ]
        return dataclasses.replace(state, model=model, beside=beside), updates


def build(models: Models, language: str) -> gr.Blocks:
    """The page in a language of LANGUAGES."""
    texts = words(language)
    with gr.Blocks(title=texts["title"], analytics_enabled=False) as blocks:
        page = _Page(Board(texts, Actions(models, texts)))
        page.lay_out(language)
        page.wire(blocks)
    return blocks


def style() -> str:
    """The page's style sheet."""
    return (resources.files("demo") / "page.css").read_text(encoding="utf-8")
