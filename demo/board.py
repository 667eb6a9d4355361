"""The parts of the page share a board: its words and actions, the components that hold the state, and its events."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import gradio as gr

from demo.actions import Actions
from demo.state import MAX_SEED, State, place_at

# Pictures to choose from are buttons. A click sends the button's number.
ON_CLICK = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-index]');
  if (button && element.contains(button)) trigger('click', {index: Number(button.dataset.index)});
});
"""
# The fields of the state that are chosen from pins and classes, each with the number of its default choice.
ENDS = {"start": 0, "end": 1, "a": 0, "b": 1, "c": 2}
_FIELDS = [field.name for field in dataclasses.fields(State) if field.name != "place"]

C = TypeVar("C")


def clicked(event: gr.EventData) -> int:
    """The number of the button that was clicked; -1 if the browser sent something else."""
    number = event._data.get("index") if isinstance(event._data, dict) else None
    return number if isinstance(number, int) and number >= 0 else -1


class Board:
    """What all parts of the page share.

    Each part hands over the components that hold the state: `hold` takes the component of one field; `place` lists
    the components of the explored place (seed, scale, moves). Events are attached once all parts are laid out.
    """

    def __init__(self, words: Mapping[str, str], actions: Actions) -> None:
        self.say, self.actions = words.__getitem__, actions
        self.tabs: gr.Tabs
        self.place: list[gr.Number | gr.Slider] = []
        self._holders: dict[str, gr.components.Component] = {}

    # Components

    def hint(self, *names: str) -> None:
        """Small print."""
        gr.HTML(f'<p class="hint">{" ".join(map(self.say, names))}</p>')

    def slider(self, low: float, high: float, value: float, step: float, name: str, label: str = "") -> gr.Slider:
        """A slider with the element id `name`, labelled with the words of that name by default."""
        return gr.Slider(low, high, value, step=step, label=label or self.say(name), elem_id=name)

    def seed(self, name: str) -> gr.Number:
        """A field for a seed, with the element id `name`."""
        return gr.Number(0, label=self.say(name), precision=0, minimum=0, maximum=MAX_SEED, elem_id=name)

    # The state

    def hold(self, field: str, component: C) -> C:
        """Let `component` hold a field of the state."""
        self._holders[field] = component
        return component

    def holders(self, *fields: str) -> list[gr.components.Component]:
        """The components that hold these fields of the state."""
        return [self._holders[field] for field in fields]

    @property
    def inputs(self) -> list[gr.components.Component]:
        """All components that hold the state, in the order that `state` expects."""
        return [*self.holders(*_FIELDS), *self.place]

    def state(self, values: Sequence[Any]) -> State:
        """The state from the values of `inputs`."""
        fields, (seed, scale, *moves) = values[: len(_FIELDS)], values[len(_FIELDS) :]
        return State.checked(**dict(zip(_FIELDS, fields, strict=True)), place=place_at(seed, scale, moves))

    def choose_ends(self, state: State) -> tuple[State, list[Any]]:
        """The state with ends that exist, and an update of each drop-down in ENDS: its choices and its value."""
        choices = self.actions.ends(state)
        values = [value for _, value in choices] or [""]
        ends: dict[str, Any] = {}
        for name, number in ENDS.items():
            current = getattr(state, name)
            ends[name] = current if current in values else values[min(number, len(values) - 1)]
        updates = [gr.update(choices=choices, value=value or None) for value in ends.values()]
        return dataclasses.replace(state, **ends), updates

    # Events

    def on(self, events: Any, action: Callable[..., Any], outputs: Any, inputs: Any = None, slow: bool = False) -> Any:
        """Run `action` on these events; when several arrive together, only on the last. `slow` shows progress.

        The events bypass Gradio's queue, which polls for results every 50 ms: a slider's picture would take twice as
        long.
        """
        return gr.on(
            events if isinstance(events, list) else [events],
            action,
            self.inputs if inputs is None else inputs,
            outputs,
            queue=False,
            trigger_mode="always_last",
            show_progress="full" if slow else "hidden",
            api_visibility="private",
        )

    def from_state(self, action: Callable[[State], Any]) -> Callable[..., Any]:
        """An action on the state as an action on the values of `inputs`."""
        return lambda *values: action(self.state(values))


class Tab(ABC):
    """One tab: its layout, its main picture, and the actions that answer its events."""

    name: str  # in TABS
    pane: gr.HTML  # what `draw` returns; drawn when the tab is opened

    def __init__(self, board: Board) -> None:
        self.board, self.say, self.actions = board, board.say, board.actions

    @abstractmethod
    def lay_out(self) -> None:
        """Create the tab's components."""

    @abstractmethod
    def wire(self) -> None:
        """Attach the tab's actions to its events."""

    @abstractmethod
    def draw(self, state: State) -> str:
        """The HTML of `pane`."""
