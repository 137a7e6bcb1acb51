"""Who gets how much of the green supply, slot by slot, each kWh once.

In every slot the minimum shares come first; what is left goes to all other load of the site in
proportion. What runs beyond the axis gets its minimum share only.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from policies.holds import first_s
from policies.scene import Floats, Ints
from scheduler.planner.kernels.energy import energies, enter_loads
from scheduler.planner.model import Model
from scheduler.planner.places import Choice, Places


@dataclass(frozen=True, slots=True)
class Energy:
    """Of a run, at the door; ``held_kw`` is the most that its minimum share holds in any slot."""

    kwh: float
    green_kwh: float
    carbon_kg: float
    held_kw: float

    @property
    def green_share(self) -> float:
        return self.green_kwh / self.kwh if self.kwh > 0 else 0.0


class Ledger:
    """Load and holds of every site in kWh per slot, for a plan that may still change by one job."""

    def __init__(self, model: Model, places: Places) -> None:
        self._model = model
        sites = model.scene.sites
        shape = (len(sites), model.scene.axis)
        self._pue = np.array([view.pue for view in sites]).reshape(shape)
        green_kw = np.array([view.green_kw for view in sites]).reshape(shape)
        self._green_kwh = green_kw * model.scene.hours
        self._load_kwh = np.array([view.running_kwh for view in sites]).reshape(shape)
        self._held_kwh = np.array([view.running_held_kwh for view in sites]).reshape(shape)
        carbon_g = np.array([view.carbon_g_per_kwh for view in sites]).reshape(shape)
        self._carbon_kg = carbon_g / 1000  # per kWh at the door, if nothing were green
        columns = model.scene.columns
        # What each class holds in every slot, (K,).
        self._share: Floats = np.where(columns.green_by_run, 0.0, columns.green_share)
        _, pair, slot = places.runs()
        self._enter(pair, slot, self._load_kwh, self._held_kwh)

    def _enter(self, pair: Ints, slot: Ints, load: Floats, held: Floats) -> None:
        enter_loads(self._model.problem, self._pue, self._share, pair, slot, load, held)
        for q, span, kwh in self._first(pair, slot):
            held[int(self._model.candidates.pairs.site[pair[q]]), span] += kwh

    def _first(self, pair: Ints, slot: Ints) -> Iterator[tuple[int, slice, Floats]]:
        """Of options that are green over the run as a whole: the slots of the first part
        of the run, and the kWh that they hold in each."""
        scene, pairs = self._model.scene, self._model.candidates.pairs
        klass = self._model.problem.pairs["klass"][pair]
        for q in np.flatnonzero(scene.columns.green_by_run[klass]).tolist():
            i, k, c = int(pair[q]), int(pairs.klass[pair[q]]), int(pairs.site[pair[q]])
            share = scene.columns.green_share[k : k + 1]
            length_s = float(first_s(share, pairs.run_s[i : i + 1], self._pue[c])[0])
            start_s = max(int(slot[q]) * scene.slot_s, float(pairs.start_s(i)))
            stop = min(max(math.ceil((start_s + length_s) / scene.slot_s), 1), scene.axis)
            t = np.arange(int(slot[q]), max(stop, int(slot[q]) + 1))
            ends_s = np.minimum((t + 1) * scene.slot_s, start_s + length_s)
            covered_s = np.maximum(ends_s - np.maximum(t * scene.slot_s, start_s), 0.0)
            it_kw = scene.it_kw(k, int(pairs.pool[i]))
            yield q, slice(int(t[0]), int(t[-1]) + 1), it_kw * self._pue[c, t] * covered_s / 3600

    def of(self, choice: Choice) -> tuple[Floats, Floats]:
        """What a run uses and holds in each slot, in kWh, (C, A) each."""
        load, held = np.zeros((2, *self._load_kwh.shape))
        pair, slot = np.array(choice.runs, dtype=np.int64).T
        self._enter(pair, slot, load, held)
        return load, held

    def add(self, choice: Choice, times: int = 1) -> None:
        """Enters a run; -1 takes it out again."""
        load, held = self.of(choice)
        self._load_kwh += times * load
        self._held_kwh += times * held

    def take(self, load: Floats, held: Floats) -> None:
        """Enters what something else uses and holds, (C, any slots) each, as far as this reaches;
        below zero it is gone."""
        slots = min(self._load_kwh.shape[1], load.shape[1])
        self._load_kwh[:, :slots] += load[:, :slots]
        self._held_kwh[:, :slots] += held[:, :slots]

    def entries(self) -> tuple[Floats, Floats]:
        """All that is entered now."""
        return self._load_kwh.copy(), self._held_kwh.copy()

    def restore(self, entries: tuple[Floats, Floats]) -> None:
        """Goes back to what was entered then."""
        self._load_kwh[:], self._held_kwh[:] = entries

    def energy(self, choice: Choice) -> Energy:
        """What a run would use and get if it were added to what the ledger holds."""
        before = self.entries()
        self.add(choice)
        figures = self.energies(*np.array(choice.runs, dtype=np.int64).T)
        self.restore(before)
        kwh, green_kwh, carbon_kg = (float(figure.sum()) for figure in figures[:3])
        return Energy(kwh, green_kwh, carbon_kg, float(figures[3].max()))

    def energies(self, pair: Ints, slot: Ints) -> tuple[Floats, Floats, Floats, Floats]:
        """kWh, green kWh, kg of carbon and kW held of runs that the ledger holds, (n,) each."""
        rest = np.maximum(self._green_kwh - self._held_kwh, 0.0)
        others = self._load_kwh - self._held_kwh
        part = np.divide(rest, others, out=np.ones_like(rest), where=others > rest)
        kwh, green_kwh, held_kw, carbon_kg, spared_kg, _ = np.empty((6, len(pair)))
        share, problem = self._share, self._model.problem
        energies(problem, self._pue, part, share, pair, slot, kwh, green_kwh, held_kw)
        # The same sums, with what each IT kWh would emit in the place of the PUE.
        emitted_kg = self._pue * self._carbon_kg
        energies(problem, emitted_kg, part, share, pair, slot, carbon_kg, spared_kg, _)
        for q, span, first_kwh in self._first(pair, slot):
            c = int(self._model.candidates.pairs.site[pair[q]])
            more_kwh = first_kwh * (1 - part[c, span])
            green_kwh[q] = min(green_kwh[q] + more_kwh.sum(), kwh[q])
            spared_kg[q] += (more_kwh * self._carbon_kg[c, span]).sum()
            held_kw[q] = self._held_kw(int(pair[q]), c, span)
        return kwh, green_kwh, carbon_kg - spared_kg, held_kw

    def _held_kw(self, pair: int, site: int, span: slice) -> float:
        """The most that an option draws in some slots."""
        pairs = self._model.candidates.pairs
        it_kw = self._model.scene.it_kw(int(pairs.klass[pair]), int(pairs.pool[pair]))
        return it_kw * float(self._pue[site, span].max())
