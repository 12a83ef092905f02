"""Candidates beyond the grid: Optuna learns from what was finished where good ones lie.

The study is not stored beside the ledger: it is made again from it, so that the two can't contradict each other. What
is proposed next follows from the seed and the ledger.

References: Bergstra et al. 2011 (tree-structured Parzen estimator); Ozaki et al. 2022 (for several objectives).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lilliput.compressing import proposals
from lilliput.compressing.plan import Plan
from lilliput.compressing.recommendation import Wanted
from lilliput.compressing.records import Proposal, Result, Settings
from lilliput.compressing.situation import Situation

TRIES = 20
"""Proposals that are looked at for one that is new."""


class Sampler:
    """Proposes settings of all kinds that vary.

    Args:
        kinds: names of those that may be proposed.
    """

    def __init__(self, kinds: Sequence[str], seen: Situation, wanted: Wanted, known: Plan, seed: int) -> None:
        spaces = {name: proposals.get(name).space(seen, wanted, known) for name in kinds}
        self.spaces: dict[str, dict[str, BaseDistribution]] = {name: space for name, space in spaces.items() if space}
        self.seed = seed

    def propose(
        self,
        tried: Mapping[int, Proposal],
        results: Sequence[Result],
        fits: Callable[[str, Settings], bool] = lambda kind, settings: True,
    ) -> tuple[str, dict[str, Any]] | None:
        """A kind and its settings, unlike all that were tried; None where nothing varies or nothing new was found.

        Args:
            results: the best of each trial.
            fits: whether a kind with its settings can be of use at all.
        """
        if not self.spaces:
            return None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            directions=["maximize", "minimize"],  # score; logarithm of latency
            sampler=optuna.samplers.TPESampler(seed=self.seed + len(tried), n_startup_trials=4),
        )
        for told in self._told(tried, results):
            study.add_trial(told)
        every = [(one.kind, dict(one.settings)) for one in tried.values()]
        for _ in range(TRIES):
            trial = study.ask()
            kind = trial.suggest_categorical("kind", sorted(self.spaces))
            settings = {name: _suggest(trial, f"{kind}.{name}", how) for name, how in self.spaces[kind].items()}
            if fits(kind, settings) and not any(_alike(kind, settings, *other) for other in every):
                return kind, settings
        return None

    def _told(self, tried: Mapping[int, Proposal], results: Sequence[Result]) -> list[optuna.trial.FrozenTrial]:
        """What is known, as trials of the study; settings that its space does not hold can't be told."""
        kinds = CategoricalDistribution(sorted(self.spaces))
        found = []
        for result in results:
            one = tried[result.trial]
            space = self.spaces.get(one.kind)
            if space is None or one.base is not None or result.score is None:
                continue
            given = {name: one.settings.get(name) for name in space}
            settings = {name: _default(how) if given[name] is None else given[name] for name, how in space.items()}
            if not all(how._contains(how.to_internal_repr(settings[name])) for name, how in space.items()):
                continue
            found.append(
                optuna.trial.create_trial(
                    params={"kind": one.kind, **{f"{one.kind}.{name}": value for name, value in settings.items()}},
                    distributions={"kind": kinds, **{f"{one.kind}.{name}": how for name, how in space.items()}},
                    values=[result.score, -math.log(result.speedup)],
                )
            )
        return found


def _suggest(trial: optuna.Trial, name: str, how: BaseDistribution) -> Any:
    if isinstance(how, CategoricalDistribution):
        return trial.suggest_categorical(name, how.choices)
    if isinstance(how, IntDistribution):
        return trial.suggest_int(name, how.low, how.high)
    assert isinstance(how, FloatDistribution)  # no other kind is in a space
    value = trial.suggest_float(name, how.low, how.high, log=how.log)
    return float(f"{value:.4g}")


def _default(how: BaseDistribution) -> Any:
    """What a setting that was left out means: the whole."""
    if isinstance(how, CategoricalDistribution):
        return how.choices[-1]
    assert isinstance(how, IntDistribution | FloatDistribution)
    return how.high


def _alike(kind: str, settings: Settings, other: str, others: Settings) -> bool:
    """Whether two candidates are hardly different: numbers within 3%."""
    if kind != other:
        return False
    return all(_near(value, others.get(name)) for name, value in settings.items())


def _near(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, int | float):
        return abs(one - other) <= 0.03 * abs(one)
    return bool(one == other)
