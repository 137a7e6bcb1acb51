"""What a placement saves against running in the origin region at once."""

from scheduler.domain.explanation import Saving
from scheduler.planner.model import Model


def saving_of(
    model: Model, pair: int, kwh: float, carbon_kg: float, price_yuan: float
) -> Saving | None:
    """The same IT energy in the origin region; what moving the data costs counts against us. None
    for a region that nobody knows."""
    scene, pairs = model.scene, model.candidates.pairs
    k = int(pairs.klass[pair])
    region = scene.regions.get(scene.classes.specs[k].region)
    if region is None:
        return None
    transfer = next((c.pair_yuan for c in model.candidates.costs if c.name == "transfer"), None)
    compute_h = float(pairs.run_s[pair] - pairs.stage_s[pair]) / 3600
    origin_kwh = scene.it_kw(k, int(pairs.pool[pair])) * compute_h * region.pue
    return Saving(
        origin_yuan=origin_kwh * region.price_yuan_per_kwh,
        yuan=price_yuan + (0.0 if transfer is None else float(transfer[pair])),
        origin_carbon_kg=origin_kwh * region.grid_carbon_g_per_kwh / 1000,
        carbon_kg=carbon_kg,
        origin_kwh=origin_kwh,
        kwh=kwh,
    )
