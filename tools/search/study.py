"""The study of a search: its finished trials in a database of Optuna's, and the next point to try.

The database is `.state/search/<name>.db`, which Optuna's own tools can read, too. Only finished trials are in it. The
next point follows from them and their number alone, so an interrupted trial is tried again with the same point, and a
search that was interrupted tries the same points as one that was not.
"""

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import StageError
from tools.search.space import Choice, Range, Space

try:
    import optuna
    from optuna.trial import FrozenTrial, TrialState
    from sqlalchemy.exc import SQLAlchemyError
except ModuleNotFoundError as _error:
    raise StageError(f"make search needs {_error.name}: .venv/bin/pip install -e '.[search]'") from None

_SEED = 0  # of every draw, with the number of the trial
_RANDOM_TRIALS = 5  # before the sampler has enough to learn from; Optuna's own 10 are half of a search of 20

optuna.logging.set_verbosity(optuna.logging.ERROR)


def _distribution(range_: Range | Choice) -> optuna.distributions.BaseDistribution:
    if isinstance(range_, Choice):
        return optuna.distributions.CategoricalDistribution([json.dumps(value) for value in range_.values])
    if range_.whole:
        return optuna.distributions.IntDistribution(int(range_.low), int(range_.high), log=range_.log)
    return optuna.distributions.FloatDistribution(range_.low, range_.high, log=range_.log)


class Study:
    """The finished trials of the search `name`. `key` stands for everything besides the space that decides the scores.

    Raises StageError for a damaged database, and for a search with another key or space.
    """

    def __init__(self, folder: Path, name: str, key: str, space: Space) -> None:
        self.path, self._space = folder / f"{name}.db", space
        folder.mkdir(parents=True, exist_ok=True)
        described = {"key": key, "space": {name: range_.text() for name, range_ in space.items()}}
        try:
            self._study = optuna.create_study(
                storage=f"sqlite:///{self.path}", study_name=name, direction="minimize", load_if_exists=True
            )
            known = self._study.user_attrs.get("search")
            if known is None:
                self._study.set_user_attr("search", described)
            self.trials  # noqa: B018 - reads them, so that damage shows now
        except (SQLAlchemyError, RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split("\n")[0].split())
            raise StageError(
                f"{self.path}: damaged ({reason}); delete it to search from scratch, or choose another NAME. The "
                "experiments of its trials remain"
            ) from None
        if known not in (None, described):
            raise StageError(
                f"{self.path}: this search is of another space, other params, data, code or IMAGES; set them back to "
                f"continue it, or choose another NAME than {name}"
            )

    @property
    def trials(self) -> list[FrozenTrial]:
        """The finished trials in order; a failed one has the state FAIL, and its reason in its attributes."""
        return self._study.get_trials(deepcopy=False)

    @property
    def scored(self) -> list[FrozenTrial]:
        """The trials that have a score, in order."""
        return [trial for trial in self.trials if trial.value is not None]

    def seconds(self) -> float | None:
        """The median time of a trial with a score; None if there is none."""
        spent = [trial.user_attrs["seconds"] for trial in self.scored]
        return statistics.median(spent) if spent else None

    def suggest(self, first: Mapping[str, Any] | None) -> dict[str, Any]:
        """The point of the next trial. The very first one is `first`, unless that is None.

        Uses the tree-structured Parzen estimator (Bergstra et al. 2011).
        """
        trials = self.trials
        if not trials and first is not None:
            return dict(first)
        seed = int(np.random.SeedSequence([_SEED, len(trials)]).generate_state(1)[0])
        sampler = optuna.samplers.TPESampler(n_startup_trials=_RANDOM_TRIALS, seed=seed)
        study = optuna.create_study(direction="minimize", sampler=sampler)  # a trial that is not finished stays here
        study.add_trials(trials)
        drawn = study.ask({name: _distribution(range_) for name, range_ in self._space.items()}).params
        return {
            name: range_.rounded(drawn[name]) if isinstance(range_, Range) else _listed(range_, drawn[name])
            for name, range_ in self._space.items()
        }

    def add(self, point: Mapping[str, Any], score: float | None, **facts: Any) -> None:
        """Record a finished trial; the score of a failed one is None. `facts` are kept as its attributes."""
        self._study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.FAIL if score is None else TrialState.COMPLETE,
                value=score,
                params={
                    name: json.dumps(value) if isinstance(self._space[name], Choice) else value
                    for name, value in point.items()
                },
                distributions={name: _distribution(range_) for name, range_ in self._space.items()},
                user_attrs=facts,
            )
        )

    def point(self, trial: FrozenTrial) -> dict[str, Any]:
        """The point of the space that a trial tried."""
        return {
            name: _listed(range_, trial.params[name]) if isinstance(range_, Choice) else trial.params[name]
            for name, range_ in self._space.items()
        }

    def best(self) -> FrozenTrial | None:
        """The trial with the lowest score; None if none has one."""
        return min(self.scored, key=lambda trial: (trial.value, trial.number), default=None)


def _listed(choice: Choice, text: str) -> Any:
    """The value of a choice that Optuna knows by its JSON."""
    return next(value for value in choice.values if json.dumps(value) == text)
