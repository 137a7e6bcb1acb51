"""Who gets how much of the green supply, slot by slot, each kWh once.

In every slot the minimum shares come first; what is left goes to all other load of the site in
proportion. What runs beyond the axis gets its minimum share only.
"""

from dataclasses import dataclass

import numpy as np

from policies.scene import Floats
from scheduler.planner.model import Assignment, Choice, Model


@dataclass(frozen=True, slots=True)
class Energy:
    """Of a run, at the door."""

    kwh: float
    green_kwh: float
    carbon_kg: float

    @property
    def green_share(self) -> float:
        return self.green_kwh / self.kwh if self.kwh > 0 else 0.0


class Ledger:
    """Load and holds of every site in kWh per slot, for a plan that may still change by one job."""

    def __init__(self, model: Model, assignment: Assignment) -> None:
        self._model = model
        sites = model.scene.sites
        self._load_kwh = [view.running_kwh.copy() for view in sites]
        self._held_kwh = [view.running_held_kwh.copy() for view in sites]
        for jobs in assignment:
            for choice in jobs:
                if choice is not None:
                    self.add(choice)

    def add(self, choice: Choice, times: int = 1) -> None:
        """Enters a run; -1 takes it out again."""
        site, span, load_kwh = self._run(choice)
        self._load_kwh[site][span] += times * load_kwh
        self._held_kwh[site][span] += times * self._share(choice) * load_kwh

    def energy(self, choice: Choice) -> Energy:
        """What a run would use and get if it were added to what the ledger holds."""
        model, (site, span, load_kwh) = self._model, self._run(choice)
        view, share = model.scene.sites[site], self._share(choice)
        held = share * load_kwh
        all_held = self._held_kwh[site][span] + held
        rest = np.maximum(view.green_kw[span] * model.scene.hours[span] - all_held, 0.0)
        others = self._load_kwh[site][span] + load_kwh - all_held
        part = np.divide(rest, others, out=np.ones_like(rest), where=others > rest)
        green_kwh = float((held + part * (load_kwh - held)).sum())
        options = model.candidates.options
        beyond_h = float(options.run.beyond_h[choice.pair, choice.slot])
        beyond_kwh = float(options.it_kw[choice.pair] * view.pue[-1]) * beyond_h
        kwh = float(load_kwh.sum()) + beyond_kwh
        green_kwh = min(green_kwh + share * beyond_kwh, kwh)
        carbon_kg = (kwh - green_kwh) * view.site.grid_carbon_g_per_kwh / 1000
        return Energy(kwh, green_kwh, carbon_kg)

    def held_kw(self, choice: Choice) -> float:
        """The most that the run's minimum share holds in any slot."""
        site, span, _ = self._run(choice)
        it_kw = float(self._model.candidates.options.it_kw[choice.pair])
        return self._share(choice) * it_kw * float(self._model.scene.sites[site].pue[span].max())

    def _share(self, choice: Choice) -> float:
        klass = int(self._model.candidates.options.klass[choice.pair])
        return self._model.scene.classes[klass].spec.min_green_share or 0.0

    def _run(self, choice: Choice) -> tuple[int, slice, Floats]:
        """Its site, its slots, and its energy in each of them."""
        model, options = self._model, self._model.candidates.options
        site = int(options.site[choice.pair])
        span, hours = options.run.touched(choice.pair, choice.slot, model.scene.hours)
        return site, span, options.it_kw[choice.pair] * model.scene.sites[site].pue[span] * hours
