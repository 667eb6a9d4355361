"""The tabs of the page, one class each."""

import dataclasses
import secrets
from pathlib import Path
from typing import Any

import gradio as gr

from demo import convolutions, drawing
from demo.board import ON_CLICK, Board, Tab, clicked
from demo.state import DIRECTIONS, MAX_MOVE, MAX_PICTURES, MAX_SCALE, State, place_at


class Explore(Tab):
    """One large picture, and sliders that move its z."""

    name = "explore"

    def lay_out(self) -> None:
        """The picture on one side, its seed and sliders on the other."""
        board = self.board
        with gr.Row():
            with gr.Column(min_width=280, elem_id="look"):
                self.pane = gr.HTML(elem_id="picture")
                with gr.Row():
                    self.pin = gr.Button(self.say("pin"), variant="primary", min_width=100, elem_id="pin")
                    self.search = gr.Button(self.say("nearest"), min_width=100, elem_id="alike")
            with gr.Column(min_width=280):
                seed = board.seed("seed")
                scale = board.slider(0, MAX_SCALE, 1, 0.05, "scale")
                board.hint("directions_hint")
                self.moves = [self._move(number) for number in range(1, DIRECTIONS + 1)]
                self.reset = gr.Button(self.say("reset"), elem_id="reset")
        board.place = [seed, scale, *self.moves]
        self.neighbours = gr.HTML(elem_id="found")

    def _move(self, number: int) -> gr.Slider:
        label = self.say("direction").format(number=number)
        return self.board.slider(-MAX_MOVE, MAX_MOVE, 0, 0.1, f"direction-{number}", label)

    def wire(self) -> None:
        """Draw when the place changes; reset it; search its neighbours."""
        board = self.board
        board.on([component.input for component in board.place], board.from_state(self.draw), self.pane)
        board.on(self.reset.click, board.from_state(self._reset), [*self.moves, self.pane])
        board.on(self.search.click, board.from_state(self.actions.nearest), self.neighbours, slow=True)

    def draw(self, state: State) -> str:
        """The picture of the place."""
        return self.actions.explore(state)

    def _reset(self, state: State) -> list[Any]:
        place = dataclasses.replace(state.place, moves=(0.0,) * DIRECTIONS)
        return [*place.moves, self.draw(dataclasses.replace(state, place=place))]


class Draw(Tab):
    """Samples of consecutive seeds. A click opens one of them in `explore`."""

    name = "draw"

    def __init__(self, board: Board, explore: Explore) -> None:
        super().__init__(board)
        self._explore = explore

    def lay_out(self) -> None:
        """The first seed, the number of pictures and their scale; the grid."""
        board = self.board
        with gr.Row():
            self.first = board.hold("first", board.seed("first"))
            self.count = board.hold("count", board.slider(1, MAX_PICTURES, State.count, 1, "count"))
            self.spread = board.hold("spread", board.slider(0, MAX_SCALE, 1, 0.05, "spread", self.say("scale")))
        board.hint("scale_hint", "draw_hint")
        self.shuffle = gr.Button(self.say("shuffle"), variant="primary", elem_id="shuffle")
        self.pane = gr.HTML(js_on_load=ON_CLICK, elem_id="grid")

    def wire(self) -> None:
        """Draw when a setting changes; shuffle; open the picture that is clicked."""
        board, explore = self.board, self._explore
        settings = [self.first.input, self.count.input, self.spread.input]
        board.on(settings, board.from_state(self.draw), self.pane)
        board.on(self.shuffle.click, board.from_state(self._shuffle), [self.first, self.pane])
        opened = [*board.place, board.tabs, *board.holders("tab"), explore.pane, explore.neighbours]
        board.on(self.pane.click, self._open, opened)

    def draw(self, state: State) -> str:
        """The grid."""
        return self.actions.draw(state)

    def _shuffle(self, state: State) -> list[Any]:
        state = dataclasses.replace(state, first=secrets.randbelow(1_000_000))
        return [state.first, self.draw(state)]

    def _open(self, event: gr.EventData, *values: Any) -> list[Any]:
        state, name = self.board.state(values), self._explore.name
        place = place_at(state.first + max(clicked(event), 0), state.spread, [0] * DIRECTIONS)
        picture = self._explore.draw(dataclasses.replace(state, place=place))
        return [place.seed, place.scale, *place.moves, gr.update(selected=name), name, picture, ""]


class Between(Tab):
    """The path from one place to another, as a strip and as an animation."""

    name = "between"

    def lay_out(self) -> None:
        """The two ends, the position between them, the strip, the animation."""
        board = self.board
        with gr.Row():
            self.start = board.hold("start", gr.Dropdown(label=self.say("from"), elem_id="start"))
            self.end = board.hold("end", gr.Dropdown(label=self.say("to"), elem_id="end"))
        self.position = board.hold("way", board.slider(0, 1, State.way, 0.01, "way"))
        board.hint("way_hint")
        self.pane = gr.HTML(elem_id="path")
        self.animate = gr.Button(self.say("animate"), elem_id="animate")
        self.animation = gr.HTML(elem_id="moving")

    def wire(self) -> None:
        """Draw when an end or the position changes; make the animation."""
        board = self.board
        settings = [self.start.input, self.end.input, self.position.input]
        board.on(settings, board.from_state(self.draw), self.pane)
        board.on(self.animate.click, board.from_state(self.actions.animation), self.animation, slow=True)

    def draw(self, state: State) -> str:
        """The strip, and the picture at the position."""
        return self.actions.between(state)


class Calculate(Tab):
    """A − B + C with z."""

    name = "calculate"

    def lay_out(self) -> None:
        """The three terms, and the result."""
        board = self.board
        board.hint("calculate_hint")
        with gr.Row():
            self.terms = [
                board.hold(name, gr.Dropdown(label=label, elem_id=name))
                for name, label in (("a", "A"), ("b", "− B"), ("c", "+ C"))
            ]
        self.pane = gr.HTML(elem_id="total")

    def wire(self) -> None:
        """Calculate when a term changes."""
        board = self.board
        board.on([term.input for term in self.terms], board.from_state(self.draw), self.pane, slow=True)

    def draw(self, state: State) -> str:
        """The terms and the result."""
        return self.actions.calculate(state)


class Training(Tab):
    """The samples of fixed z in the course of the training."""

    name = "training"

    def lay_out(self) -> None:
        """The moment, and its samples."""
        self.moment = self.board.hold("moment", self.board.slider(1, 2, 1, 1, "moment"))
        self.pane = gr.HTML(elem_id="history")

    def wire(self) -> None:
        """Draw when the moment changes."""
        self.board.on(self.moment.input, self.board.from_state(self.draw), self.pane)

    def draw(self, state: State) -> str:
        """The samples of the moment."""
        return self.actions.training(state)

    def limit(self, state: State) -> tuple[State, Any]:
        """The state with a moment that its model has, and an update of the slider: its range and its value."""
        moments = self.actions.moments(state)
        state = dataclasses.replace(state, moment=min(state.moment, moments))
        return state, gr.update(maximum=max(2, moments), value=state.moment, interactive=moments > 1)


class Discriminator(Tab):
    """The discriminator's score of an uploaded picture."""

    name = "judge"  # kept for the links that name this tab so; elsewhere the judge is the classifier

    def lay_out(self) -> None:
        """A button for the upload, and the verdict."""
        self.board.hint("discriminator_hint")
        self.upload = gr.UploadButton(self.say("upload"), variant="primary", elem_id="upload")
        self.pane = gr.HTML(elem_id="verdict")

    def wire(self) -> None:
        """Score each upload."""
        board = self.board
        board.on(self.upload.upload, self._score, self.pane, [self.upload, *board.inputs], slow=True)

    def draw(self, state: State) -> str:
        """Nothing before a picture is uploaded."""
        return ""

    def _score(self, uploaded: str | None, *values: Any) -> str:
        return self.actions.score(self.board.state(values), Path(uploaded)) if uploaded else ""


class Inside(Tab):
    """The outputs of the networks' layers, and a convolution by hand."""

    name = "inside"

    def lay_out(self) -> None:
        """The layers; below them the kinds of convolution, a matrix, a kernel and the result."""
        self.board.hint("inside_hint")
        self.pane = gr.HTML(elem_id="insides")
        gr.HTML(drawing.heading(self.say("convolution")))
        self.board.hint("convolution_hint")
        kinds = [(self.say(f"kind_{kind}"), kind) for kind in convolutions.KINDS]
        first = convolutions.KINDS[0]
        self.kind = gr.Radio(kinds, value=first, label=self.say("kind"), elem_id="kind")
        example = convolutions.EXAMPLES[first]
        with gr.Row():
            self.matrix, self.kernel = (
                gr.Textbox(text, label=self.say(name), lines=3, max_lines=9, elem_id=name)
                for name, text in zip(("matrix", "kernel"), example, strict=True)
            )
        self.result = gr.HTML(self.actions.convolve(first, *example), js_on_load=ON_CLICK, elem_id="worked")

    def wire(self) -> None:
        """Show the example of a chosen kind; convolve when a number changes; mark the window of a clicked result."""
        on, inputs = self.board.on, [self.kind, self.matrix, self.kernel]
        on(self.kind.input, self._example, [self.matrix, self.kernel, self.result], self.kind)
        on([self.matrix.change, self.kernel.change], self.actions.convolve, self.result, inputs)
        on(self.result.click, self._mark, self.result, inputs)

    def draw(self, state: State) -> str:
        """The layers' outputs for the explored place."""
        return self.actions.inside(state)

    def _example(self, kind: str) -> list[str]:
        texts = convolutions.EXAMPLES[kind]
        return [*texts, self.actions.convolve(kind, *texts)]

    def _mark(self, event: gr.EventData, kind: str, matrix: str, kernel: str) -> str:
        return self.actions.convolve(kind, matrix, kernel, clicked(event))
