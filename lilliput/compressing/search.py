"""The rounds of a search: propose, cut, train a little, train fully; at every step the better ones go on.

The first round is a grid around the target. The next ones go on from what is finished, and try what the sampler
proposes. Everything is decided by the ledger: a search that was killed decides as it did, and goes on.
"""

from __future__ import annotations

import functools
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from lilliput.compressing import proposals, workers
from lilliput.compressing.budget import Budget, Estimates
from lilliput.compressing.frontier import Point, frontier
from lilliput.compressing.halving import Scored, noise_of, survivors
from lilliput.compressing.plan import AGAIN, Plan, guess
from lilliput.compressing.recommendation import TOLERANCE, Wanted
from lilliput.compressing.records import FIRST, FULL, SHORT, Ledger, Proposal, Result
from lilliput.compressing.sampling import Sampler
from lilliput.compressing.situation import Situation
from lilliput.compressing.workers import Workers
from lilliput.config import CompressConfig
from lilliput.reporter import Reporter
from lilliput.train import sources

TRIALS = 24
"""Candidates of a search that has neither ``--trials`` nor ``--budget``."""

SHARES = {FIRST: 0.35, SHORT: 0.3, FULL: 1.0}
"""Of the time left, what the candidates of a round may take on a rung."""

DEATHS = 2
"""Times that the process of a job may die before its trial counts as failed."""

NEAR = (0.7, 3.0)
"""Shares of the speedup that is asked for between which the sampler looks."""

SMALL = 20.0
"""About how many times faster than the teacher a student of token windows is, whatever is asked for."""

NAMES = {FIRST: "as cut", SHORT: "short training", FULL: "full training"}


@dataclass(frozen=True)
class Places:
    """Folders of a search: the run, the teacher's model, and its bundle."""

    run: Path
    teacher: Path
    reference: Path

    @property
    def cache(self) -> Path:
        """Of the teacher's outputs."""
        return self.run / "teacher-outputs"

    def trial(self, proposal: Proposal) -> Path:
        """Of a trial."""
        return self.run / "trials" / proposal.name


class Search:
    """One search.

    Args:
        ending: seconds that exports, benchmark and report take when it is over, by the models that are shipped.
    """

    def __init__(
        self,
        config: CompressConfig,
        ledger: Ledger,
        budget: Budget,
        seen: Situation,
        known: Plan,
        wanted: Wanted,
        places: Places,
        ending: Callable[[int], float],
        reporter: Reporter,
    ) -> None:
        self.config, self.ledger, self.budget = config, ledger, budget
        self.seen, self.known, self.wanted = seen, known, wanted
        self.places, self._ending, self.reporter = places, ending, reporter
        self.estimates = Estimates()
        plain = config.transformers_only or config.uniform  # plain AutoModel loads no student of windows
        self.kinds = [name for name, kind in proposals.kinds().items() if not (plain and kind.TRAINED_FIRST)]
        self._deaths: Counter[tuple[int, int]] = Counter()
        self._stopped: set[int] = set()  # trials whose time was over in this process
        self._left_out: set[int] = set()  # trials that there was no time for
        self._looked_at: set[int | None] = set()  # bases whose importance this process knows, to cut them further
        for result in ledger.results.values():
            self._learn(result)
        self._looked_at.clear()

    def go(self, crew: Workers | None = None) -> None:
        """Search until trials or time are used up, or nothing new can be proposed."""
        with crew or workers.of(self.config.workers, self.config.ray, self.reporter) as hands:
            for number in itertools.count():
                if not self._proposed(number, hands.count):
                    return
                for rung in (FIRST, SHORT, FULL):
                    self._climb(hands, number, rung)

    @functools.cached_property
    def _absolute(self) -> CompressConfig:
        """The configuration for processes that may have another working folder."""
        config = self.config
        paths: dict[str, Any] = {"out": config.out.resolve()}
        if config.unlabelled is not None:
            paths["unlabelled"] = config.unlabelled.resolve()
        if config.data != sources.SENTIMENT and Path(config.data).exists():
            paths["data"] = str(Path(config.data).resolve())
        return config.model_copy(update=paths)

    # --- proposals ----------------------------------------------------------------------------------------------------

    def _proposed(self, number: int, count: int) -> bool:
        """Whether there are candidates of a round, proposed now or by an earlier process."""
        if any(one.round == number for one in self.ledger.proposals.values()):
            return True
        if not (left := self._trials_left()):
            return False
        # What an earlier call had no trials left for, or another target asks for, comes before what is refined.
        found = [one for one in self._grid() if not self._is_known(*one[:3])]
        if number:
            found += self._refined(max(2, count))
        candidates: list[Proposal] = []
        first = self.ledger.next_number
        for kind, settings, base, origin in found[:left]:
            if number and not self._has_time_for(kind, settings):
                continue
            candidates.append(Proposal(first + len(candidates), kind, settings, base, number, origin))
        if candidates:
            self.ledger.propose(candidates)
        return bool(candidates)

    def _trials_left(self) -> int:
        most = self.config.trials or (TRIALS if self.config.budget is None else 10_000)
        return max(0, most - len(self.ledger.proposals))

    def _grid(self) -> list[tuple[str, dict[str, Any], int | None, str]]:
        """What every kind begins with: the first of each kind, then the second of each, and so on."""
        order = sorted(self.kinds, key=lambda name: (name != "prune", name != "layers", name))
        each = [
            [(name, dict(one), None, "grid") for one in proposals.get(name).grid(self.seen, self.wanted, self.known)]
            for name in order
        ]
        return [one for some in itertools.zip_longest(*each) for one in some if one is not None]

    def _refined(self, count: int) -> list[tuple[str, dict[str, Any], int | None, str]]:
        """Models that go on from finished ones, and what the sampler proposes; ``count`` of them."""
        full = self.ledger.on(FULL)
        done = [
            (_point(result), {"kind": self._of(result).kind, "settings": self._of(result).settings}) for result in full
        ]
        found: list[tuple[str, dict[str, Any], int | None, str]] = []
        for name in self.kinds:
            for base, settings in proposals.get(name).chains(self.seen, self.wanted, self.known, done):
                if not self._is_known(name, settings, base):
                    found.append((name, settings, base, "chain"))
        found = found[:count]
        tried = dict(self.ledger.proposals)
        while len(found) < count:
            proposed = self._sampled(tried)
            if proposed is None:
                break
            found.append((*proposed, None, "sampled"))
            tried[max(tried, default=-1) + 1] = Proposal(-1, *proposed, origin="sampled")
        return found

    def _sampled(self, tried: Mapping[int, Proposal]) -> tuple[str, dict[str, Any]] | None:
        """What the sampler proposes: of a kind that had no more turns than the others, if there is such a one."""
        turns = Counter(one.kind for one in tried.values() if one.origin == "sampled")
        spaces = [name for name in self.kinds if proposals.get(name).space(self.seen, self.wanted, self.known)]
        fewest = min((turns[name] for name in spaces), default=0)
        for kinds in ([name for name in spaces if turns[name] <= fewest + 1], spaces):
            sampler = Sampler(kinds, self.seen, self.wanted, self.known, self.config.seed)
            if proposed := sampler.propose(tried, self.ledger.best(), self._is_near):
                return proposed
        return None

    def _is_known(self, kind: str, settings: Mapping[str, Any], base: int | None) -> bool:
        return any(
            (one.kind, dict(one.settings), one.base) == (kind, json.loads(json.dumps(dict(settings))), base)
            for one in self.ledger.proposals.values()
        )

    def _is_near(self, kind: str, settings: Mapping[str, Any]) -> bool:
        """Whether a candidate will be about as fast as asked for, as far as is known of it or its kind."""
        if (aim := self.wanted.speed) is None:
            return True
        speed = proposals.get(kind).predicted(settings, self.seen)
        if speed is None:
            speeds = [result.speedup for result in self.ledger.best() if self._of(result).kind == kind]
            return not speeds or any(NEAR[0] * aim <= one <= NEAR[1] * aim for one in speeds)
        return bool(NEAR[0] * aim <= speed <= NEAR[1] * aim)

    def _is_asked_for(self, one: Proposal) -> bool:
        """Whether a candidate will be as fast as asked for: one that a round must not pass over for cheaper ones."""
        speed, aim = proposals.get(one.kind).predicted(one.settings, self.seen), self.wanted.speed
        return speed is not None and aim is not None and abs(speed / aim - 1) <= TOLERANCE

    # --- rungs --------------------------------------------------------------------------------------------------------

    def _climb(self, crew: Workers, number: int, rung: int) -> None:
        """Do the jobs of a rung for all rounds up to ``number``, the most promising first, while there is time."""
        waiting = self._waiting(number, rung)
        allowed = SHARES[rung] * (self.budget.left - self.ending)
        promised, total, working = 0.0, len(waiting), 0
        while waiting or working:
            while waiting and working < crew.count:
                proposal = waiting.pop(0)
                seconds = self._estimate(proposal, rung) / crew.count
                much = (
                    promised and promised + seconds > allowed and not (rung == FIRST and self._is_asked_for(proposal))
                )
                if much or not self._fits(proposal, rung):
                    if proposal.number not in self._left_out:
                        self.reporter.say(Text(f"  {proposal.name}: no time for this one ({NAMES[rung]})"))
                    self._left_out.add(proposal.number)
                    continue
                promised += seconds
                crew.submit(self._job(proposal, rung))
                working += 1
            if not working:
                return
            job, outcome = crew.next()
            working -= 1
            again = self._note(job, outcome)
            if again is not None:
                waiting.insert(0, again)
            self.reporter.progress(total - len(waiting) - working, total, f"round {number + 1}, {NAMES[rung]}")

    def _waiting(self, number: int, rung: int) -> list[Proposal]:
        every = [one for one in self.ledger.proposals.values() if one.round <= number]
        if rung != FIRST:
            on = self._going_on(rung - 1, number)
            every = [one for one in every if one.number in on]
        todo = [
            one
            for one in every
            if one.number not in self.ledger.failures
            and one.number not in self._stopped
            and (one.number, rung) not in self.ledger.results
        ]
        return self._soon(todo) if rung == FIRST else sorted(todo, key=lambda one: self._promise(one, rung - 1))

    def _soon(self, todo: list[Proposal]) -> list[Proposal]:
        """The candidates in their order; within a budget one that is quickly judged comes first, to have one at all."""
        judged = [one for one in todo if not proposals.get(one.kind).TRAINED_FIRST]
        if self.config.budget is None or not judged or points(self.ledger.best()):
            return todo
        quickest = min(judged, key=lambda one: (self._estimate(one, FIRST), one.number))
        return [quickest, *(one for one in todo if one is not quickest)]

    def _going_on(self, rung: int, number: int) -> set[int]:
        """The trials that a rung lets go on."""
        there = [one for one in self.ledger.on(rung) if self._of(one).round <= number]
        candidates = [Scored(one.trial, one.speedup, one.score) for one in there]
        return set(survivors(candidates, noise=noise_of(self.seen.score, self.seen.validation)))

    def _promise(self, one: Proposal, rung: int) -> tuple[bool, float]:
        """Smaller for what should be done first: what meets the target, and of that the best so far."""
        result = self.ledger.results[one.number, rung]
        aim, size = self.wanted.speed, self.wanted.size
        meets = (aim is None or aim * 0.95 <= result.speedup <= 2 * aim) and (size is None or result.bytes <= size)
        return not meets, -(result.score if result.score is not None else 0.0)

    def _note(self, job: Mapping[str, Any], outcome: dict[str, Any]) -> Proposal | None:
        """Keep what became of a job; the proposal, where it is to be tried again."""
        proposal, rung = Proposal(**job["trial"]), job["rung"]
        if outcome["state"] == "finished":
            folder = str(Path(outcome["folder"]).relative_to(self.places.run.resolve()))
            named = {name: outcome[name] for name in ("score", "learnt", "speedup", "bytes", "facts")}
            seconds = 0.0 if outcome["reused"] else outcome["seconds"]  # what was there already tells no pace
            result = Result(proposal.number, rung, folder=folder, seconds=seconds, **named)
            self.ledger.finish(result)
            self._learn(result)
            score = "" if result.score is None else f", {abs(result.score):.4f} on validation"
            line = f"  {proposal.name}, {NAMES[rung]}: {result.speedup:.2f} times as fast{score}"
            self.reporter.say(Text(f"{line}, {result.seconds:.0f} s"))
        elif outcome["state"] == "failed":
            self.ledger.fail(proposal.number, outcome["why"])
            self.reporter.say(Text(f"  {proposal.name}: {outcome['why']}"))
        elif outcome["state"] == "died":
            self._deaths[proposal.number, rung] += 1
            if self._deaths[proposal.number, rung] < DEATHS:
                return proposal
            self.ledger.fail(proposal.number, "its process died twice, perhaps for want of memory")
        else:
            self._stopped.add(proposal.number)
            why = outcome.get("why", "its time was over; a larger --budget goes on with it")
            self.reporter.say(Text(f"  {proposal.name}: {why}"))
        return None

    def _job(self, proposal: Proposal, rung: int) -> dict[str, Any]:
        source, speedup = self.places.teacher, 1.0
        if proposal.base is not None:
            base = self.ledger.last(proposal.base)
            source, speedup = self.places.run / base.folder, base.speedup
        timed = self.config.budget is not None
        return {
            "config": self._absolute.to_yaml(),
            "plan": self.known.to_dict(),
            "seen": self.seen.to_dict(),
            "trial": vars(proposal),
            "rung": rung,
            "teacher": str(self.places.teacher.resolve()),
            "reference": str(self.places.reference.resolve()),
            "source": str(source.resolve()),
            "source_speedup": speedup,
            "cache": str(self.places.cache.resolve()),
            "folder": str(self.places.trial(proposal).resolve()),
            "deadline": time.time() + self.budget.left - self.ending if timed else None,
        }

    def outlook(self) -> float:
        """About how many seconds the whole search takes, by what its grid does: half of the candidates are trained, and
        of those half fully."""
        grid = [Proposal(-1, kind, settings) for kind, settings, *_ in self._grid()]
        each = [sum(self._estimate(one, rung) / 2**rung for rung in (FIRST, SHORT, FULL)) for one in grid]
        most = self.config.trials or TRIALS
        return most * sum(each) / max(1, len(each)) / self.config.workers

    # --- time ---------------------------------------------------------------------------------------------------------

    @property
    def ending(self) -> float:
        """Seconds that are kept for the end: for the models of the frontier so far, and one more."""
        return self._ending(len(frontier(points(self.ledger.best()))) + 1)

    def _fits(self, proposal: Proposal, rung: int) -> bool:
        """Whether the job, and what must follow until its model can be judged, ends in time."""
        later = sum(self._estimate(proposal, next_rung) for next_rung in range(rung + 1, FULL + 1))
        return self.budget.fits(self._estimate(proposal, rung), self.ending + later)

    def _has_time_for(self, kind: str, settings: Mapping[str, Any]) -> bool:
        whole = sum(self._estimate(Proposal(-1, kind, settings), rung) for rung in (FIRST, SHORT, FULL))
        return self.budget.fits(whole, self.ending)

    def _estimate(self, proposal: Proposal, rung: int) -> float:
        """Seconds."""
        return self.estimates.seconds(self._work_of(proposal, rung), rung, self._guess(proposal, rung))

    def _work_of(self, proposal: Proposal, rung: int) -> str:
        """The kind of work: of one base the first cut takes much longer than the next ones."""
        again = proposal.kind == "prune" and rung == FIRST and proposal.base in self._looked_at
        return AGAIN if again else proposal.kind

    def _guess(self, proposal: Proposal, rung: int) -> float:
        known = [one for one in self.ledger.results.values() if one.trial == proposal.number]
        kind = proposals.get(proposal.kind)
        usual = SMALL if kind.TRAINED_FIRST else self.wanted.speed or 2.0
        speedup = known[0].speedup if known else kind.predicted(proposal.settings, self.seen) or usual
        return guess(self._work_of(proposal, rung), rung, proposal.settings, self.seen, self.known, speedup)

    def _learn(self, result: Result) -> None:
        proposal = self._of(result)
        work, rung = self._work_of(proposal, result.rung), result.rung
        self.estimates.note(work, rung, self._guess(proposal, rung), result.seconds)
        if proposal.kind == "prune" and rung == FIRST:
            self._looked_at.add(proposal.base)

    def _of(self, result: Result) -> Proposal:
        return self.ledger.proposals[result.trial]


def _point(result: Result) -> Point:
    return Point(result.trial, result.score or 0.0, result.speedup, result.bytes)


def points(results: Sequence[Result]) -> list[Point]:
    """Scored results as points."""
    return [_point(result) for result in results if result.score is not None]
