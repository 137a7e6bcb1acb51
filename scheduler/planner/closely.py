"""Why one job is where it is: what each pool could have offered beside all other jobs."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from policies.classes import JobClass
from policies.scene import Floats
from scheduler.domain.explanation import Candidate, Explanation, Outcome, Saving
from scheduler.domain.reason import Reason, ReasonCode
from scheduler.planner.binding import binding_rows, blocking_reason
from scheduler.planner.block import Block
from scheduler.planner.candidates import PRECEDENCE
from scheduler.planner.decision import Decision
from scheduler.planner.doubts import with_doubts
from scheduler.planner.ledger import Energy
from scheduler.planner.placements import spans_of
from scheduler.planner.places import Choice
from scheduler.planner.savings import saving_of
from scheduler.planner.split_told import runs_told, terms_of
from scheduler.planner.starting import starts_now


@dataclass(frozen=True, slots=True)
class Offer:
    """The best start of a feasible pair, given all other jobs."""

    choice: Choice
    pool: str
    start_s: float
    energy: Energy
    terms: dict[str, float]

    @property
    def total_yuan(self) -> float:
        return sum(self.terms.values())

    @property
    def price_yuan_per_kwh(self) -> float:
        return self.terms.get("price", 0.0) / self.energy.kwh if self.energy.kwh else 0.0


def told_closely(
    decision: Decision, klass: int, choice: Choice | None, code: ReasonCode
) -> Explanation:
    """With all candidates, one job of a class that has a choice, and a code in the verdict; without
    its id."""
    return _Teller(decision, klass, choice, code).tell()


class _Teller:
    """Explains one job of a class with one choice."""

    def __init__(
        self, decision: Decision, klass: int, choice: Choice | None, code: ReasonCode
    ) -> None:
        self._code = code
        self._decision, self._model = decision, decision.model
        self._residual, self._ledger = decision.residual, decision.ledger
        self._k, self._choice = klass, choice
        self._klass: JobClass = decision.model.scene.classes[klass]
        self._block = Block(decision.model, klass)

    def tell(self) -> Explanation:
        if self._choice is None:
            return self._tell_alone()
        # Taken out and put back, sums would not be the same to the last bit.
        left, entries = self._residual.left.copy(), self._ledger.entries()
        self._residual.place(self._choice, -1)
        self._ledger.add(self._choice, -1)
        try:
            return self._tell_alone()
        finally:
            self._residual.left[:] = left
            self._ledger.restore(entries)

    def _tell_alone(self) -> Explanation:
        """With the job itself taken out of the plan."""
        model, block, left = self._model, self._block, self._residual.left
        span, room = block.span, block.room_yuan(left)
        excess = block.excess_yuan(left)
        free_yuan = block.cost_yuan + excess
        yuan = block.cost_yuan + room
        offers: dict[int, Offer] = {}
        for pair in range(span.start, span.stop):
            here = yuan[pair - span.start]
            choice = Choice(pair, int(np.argmin(here)))
            if self._choice is not None and self._choice.pair == pair:
                choice = self._choice
            elif not np.isfinite(here[choice.slot]):
                continue
            pool, over_yuan = int(block.pools[pair - span.start]), 0.0
            if choice.split is None:
                over_yuan = float(excess[pair - span.start, choice.slot])
            offers[pool] = self._offer(choice, over_yuan)
        chosen = next((o for o in offers.values() if o.choice == self._choice), None)
        candidates = self._candidates(offers, chosen, free_yuan)
        outcome, reason = Outcome.UNPLACED, self._why_unplaced(candidates)
        if chosen is not None:
            now = starts_now(model, chosen.choice)
            outcome = Outcome.PLACED if now else Outcome.PLANNED
            rest = [o for o in offers.values() if o is not chosen]
            reason = self._why_here(chosen, rest) if now else self._why_later(chosen, yuan, excess)
            reason = self._with_runs(reason, chosen, float(yuan.min(initial=np.inf)))
            pool = int(model.candidates.pairs.pool[chosen.choice.pair])
            reason = with_doubts(reason, model.scene.site_of(pool))
        binding = binding_rows(
            model,
            self._residual,
            self._decision.duals,
            choice=self._choice,
            first_pair=span.start,
            free_yuan=free_yuan,
        )
        return Explanation(
            job_id="",
            decided_at=self._decision.decided_at,
            outcome=outcome,
            reason=reason,
            candidates=candidates,
            binding=binding,
            saving=self._saving(chosen) if chosen else None,
            round_objective_yuan=self._decision.objective_yuan,
            round_bound_yuan=self._decision.bound_yuan,
            round_gap=self._decision.gap,
        )

    def _offer(self, choice: Choice, excess_yuan: float) -> Offer:
        block, row = self._block, choice.pair - self._block.span.start
        terms = {name: float(yuan[row, choice.slot]) for name, yuan in block.terms}
        if choice.split is not None:
            terms = terms_of(self._model, choice, choice.split)
            excess_yuan = self._residual.excess_yuan(choice)
        elastic = next((f.name for f in self._model.families if not f.hard), "")
        if excess_yuan:
            terms[elastic] = terms.get(elastic, 0.0) + excess_yuan
        return Offer(
            choice=choice,
            pool=self._pool_name(int(block.pools[row])),
            start_s=float(block.start_s[row, choice.slot]),
            energy=self._ledger.energy(choice),
            terms=terms,
        )

    def _pool_name(self, pool: int) -> str:
        return self._model.scene.pools[pool].name

    def _candidates(
        self, offers: dict[int, Offer], chosen: Offer | None, free_yuan: Floats
    ) -> tuple[Candidate, ...]:
        """Chosen first, then by cost, then those ruled out."""
        made = []
        for pool in range(len(self._model.scene.pools)):
            offer = offers.get(pool)
            if offer is None:
                made.append(self._ruled_out(pool, free_yuan))
            else:
                made.append(self._in_the_running(pool, offer, chosen, offers))
        made.sort(key=lambda c: (not c.chosen, not c.feasible, c.total_yuan, c.cluster))
        return tuple(made)

    def _ruled_out(self, pool: int, free_yuan: Floats) -> Candidate:
        candidates, first = self._model.candidates, self._block.span.start
        reason = candidates.pair_reason(self._model.scene, self._k, pool)
        if reason is None:
            row = candidates.row_of(self._k, pool) - first
            slot = int(np.argmin(free_yuan[row]))
            if np.isfinite(free_yuan[row, slot]):
                choice = Choice(first + row, slot)
                reason = blocking_reason(self._model, self._residual, choice)
            else:
                reason = self._block.reason(row)
        where = self._model.scene.pools[pool]
        return Candidate(
            cluster=where.cluster,
            accelerator=where.accelerator,
            feasible=False,
            chosen=False,
            start_at=None,
            end_at=None,
            rtt_p95_ms=self._rtt_ms(pool),
            green_share=0.0,
            energy_kwh=0.0,
            carbon_kg=0.0,
            terms=(),
            total_yuan=0.0,
            reason=reason,
        )

    def _in_the_running(
        self, pool: int, offer: Offer, chosen: Offer | None, offers: dict[int, Offer]
    ) -> Candidate:
        where = self._model.scene.pools[pool]
        spans = spans_of(self._model, offer.choice)
        return Candidate(
            cluster=where.cluster,
            accelerator=where.accelerator,
            feasible=True,
            chosen=offer is chosen,
            start_at=spans[0].start_at,
            end_at=spans[-1].end_at,
            rtt_p95_ms=self._rtt_ms(pool),
            green_share=offer.energy.green_share,
            energy_kwh=offer.energy.kwh,
            carbon_kg=offer.energy.carbon_kg,
            terms=tuple(offer.terms.items()),
            total_yuan=offer.total_yuan,
            reason=self._why_lost(offer, chosen, offers),
        )

    def _saving(self, chosen: Offer) -> Saving | None:
        energy = chosen.energy
        figures = (energy.kwh, energy.carbon_kg, chosen.terms.get("price", 0.0))
        return saving_of(self._model, chosen.choice.pair, *figures)

    def _rtt_ms(self, pool: int) -> float | None:
        rtt = self._model.scene.site_of(pool).site.rtt.get(self._klass.spec.region)
        return rtt.p95_ms if rtt and np.isfinite(rtt.p95_ms) else None

    def _why_lost(self, offer: Offer, chosen: Offer | None, offers: dict[int, Offer]) -> Reason:
        if chosen is None:
            return Reason(ReasonCode.CAPACITY, "Would fit alone, but not beside dearer jobs.")
        if offer is chosen:
            return Reason(ReasonCode.CHOSEN, _against(chosen, [*offers.values()]))
        more = offer.total_yuan - chosen.total_yuan
        parts = ", ".join(
            f"{name} {offer.terms.get(name, 0.0) - chosen.terms.get(name, 0.0):+.2f}"
            for name in dict.fromkeys([*offer.terms, *chosen.terms])
            if abs(offer.terms.get(name, 0.0) - chosen.terms.get(name, 0.0)) >= 0.005
        )
        text = f"{_yuan(more)} dearer than {chosen.pool}"
        if more < 0:  # the round's work was spent before this move was found
            text = f"{_yuan(-more)} cheaper than {chosen.pool}, within the gap of the round"
        return Reason(ReasonCode.DEARER, f"{text}: {parts}." if parts else f"{text}.")

    def _why_here(self, chosen: Offer, rest: list[Offer]) -> Reason:
        rtt_ms = self._rtt_ms(int(self._model.candidates.pairs.pool[chosen.choice.pair]))
        way = "" if rtt_ms is None else f", {rtt_ms:.1f} ms (p95) to {self._klass.spec.region}"
        text = (
            f"Starts now at {chosen.pool}: {_figure(chosen.energy.kwh, 3)} kWh at "
            f"{chosen.price_yuan_per_kwh:.3f} yuan/kWh, {chosen.energy.green_share:.0%} "
            f"green{way}. "
        )
        return Reason(ReasonCode.CHOSEN, text + _against(chosen, rest))

    def _with_runs(self, reason: Reason, chosen: Offer, unbroken_yuan: float) -> Reason:
        """With the runs, if there are several, and what they save against the best single one."""
        if chosen.choice.split is None:
            return reason
        text = f"{reason.message} {runs_told(self._model, chosen.choice)}"
        if np.isfinite(unbroken_yuan):
            saved = max(unbroken_yuan - chosen.total_yuan, 0.0)
            stops = _yuan(chosen.choice.split.stops_yuan)
            text += f"; that saves {_yuan(saved)} against one run, {stops} for stopping included"
        return Reason(reason.code, f"{text}.")

    def _why_later(self, chosen: Offer, yuan: Floats, excess: Floats) -> Reason:
        """Why a job that has a place does not start now. The verdict on all jobs has the code; of
        rules that say the same here, a close look may find another one first."""
        scene, span = self._model.scene, self._block.span
        where = f"Starts at {scene.clock(chosen.start_s)} at {chosen.pool}"
        if self._klass.ready_s > scene.now_s:
            text = f"{where}; it may not start before {scene.clock(self._klass.ready_s)}."
            return Reason(self._code, text)
        row = int(np.argmin(yuan[:, 0]))
        if np.isfinite(yuan[row, 0]):
            now = self._offer(Choice(span.start + row, 0), float(excess[row, 0]))
            return _deferred(where, chosen, now, self._code)
        reasons = [self._why_not_now(pair) for pair in range(span.start, span.stop)]
        same = ReasonCode.GREEN if self._code is ReasonCode.WAITING_FOR_GREEN else self._code
        reason = max(reasons, key=lambda r: (r.code is same, PRECEDENCE[r.code]))
        return Reason(self._code, f"{where}. {reason.message}")

    def _why_not_now(self, pair: int) -> Reason:
        row = pair - self._block.span.start
        if (reason := self._block.start_reason(row, 0)) is not None:
            return reason
        if pair in self._model.blocked:
            name = self._pool_name(int(self._block.pools[row]))
            text = f"The free accelerators of {name} do not lie together as the gang needs them."
            return Reason(ReasonCode.GANG_FRAGMENTED, text)
        return blocking_reason(self._model, self._residual, Choice(pair, 0))

    def _why_unplaced(self, candidates: tuple[Candidate, ...]) -> Reason:
        """The reason of the pool that came nearest, and how many pools each reason ruled out."""
        if not candidates:
            return Reason(ReasonCode.NO_CLUSTER, "No cluster with nodes has ever reported.")
        nearest = max(
            candidates, key=lambda c: (PRECEDENCE[c.reason.code], -(c.rtt_p95_ms or np.inf))
        )
        count = Counter(c.reason.code for c in candidates)
        told = ", ".join(f"{code} {n}" for code, n in sorted(count.items(), key=_by_precedence))
        text = f"{nearest.cluster}/{nearest.accelerator or 'cpu'}: {nearest.reason.message}"
        if len(candidates) > 1:
            text += f" Of {len(candidates)} pools: {told}."
        return Reason(nearest.reason.code, text)


def _by_precedence(item: tuple[ReasonCode, int]) -> int:
    return PRECEDENCE[item[0]]


def _yuan(amount: float) -> str:
    return f"{amount:.2f} yuan" if amount >= 0.1 else f"{_figure(amount, 2)} yuan"


def _figure(amount: float, digits: int) -> str:
    """So many significant digits, never as a power of ten; nothing below a millionth."""
    small = amount if amount >= 1e-6 else 0.0
    return np.format_float_positional(small, precision=digits, fractional=False, trim="-")


def _against(chosen: Offer, others: list[Offer]) -> str:
    """The chosen's cost beside the next best's."""
    rest = sorted((o for o in others if o is not chosen), key=lambda o: o.total_yuan)
    text = f"{_yuan(chosen.total_yuan)} in all"
    if not rest:
        return f"{text}; no other pool could take the job."
    less = rest[0].total_yuan - chosen.total_yuan
    return f"{text}, {_yuan(max(less, 0.0))} less than {rest[0].pool}, the next best."


def _deferred(where: str, chosen: Offer, now: Offer, code: ReasonCode) -> Reason:
    """The job could start now, but a later slot is cheaper or greener."""
    saves = f"saves {_yuan(max(now.total_yuan - chosen.total_yuan, 0.0))}"
    if code is ReasonCode.WAITING_FOR_GREEN:
        text = (
            f"{where}, {chosen.energy.green_share:.0%} green instead of now "
            f"{now.energy.green_share:.0%} at {now.pool}; {saves}."
        )
        return Reason(code, text)
    text = (
        f"{where}, at {chosen.price_yuan_per_kwh:.3f} yuan/kWh instead of now at "
        f"{now.price_yuan_per_kwh:.3f} at {now.pool}; {saves}."
    )
    return Reason(code, text)
