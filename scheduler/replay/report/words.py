"""Figures and names as people read them."""

TITLES = {
    "westward": "Westward",
    "fifo": "FIFO first fit",
    "least-allocated": "kube LeastAllocated",
    "most-allocated": "kube MostAllocated",
    "cheapest-now": "Cheapest site now",
    "cheapest-window": "Cheapest over the run",
    "skypilot": "SkyPilot argmin",
}


def title(policy: str) -> str:
    """A policy's name for people."""
    return TITLES.get(policy, policy)


def number(value: float) -> str:
    """Three significant digits or whole numbers, thousands apart."""
    size = abs(value)
    if not size:
        return "0"
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.005 else f"{value:.2g}"


def percent(share: float) -> str:
    """``45.2 %``."""
    return f"{share * 100:.1f} %"


def change(value: float, against: float) -> str:
    """``−24.5 %``: how far a value lies from another; empty where that is nil."""
    if not against:
        return ""
    text = f"{(value / against - 1) * 100:+.1f} %"
    return text.replace("-", "−")


def span(seconds: float) -> str:
    """``36 s``, ``12 min``, ``3.4 h``, ``2.1 d``: one figure and its unit."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= (2 if unit == "d" else 1) * size:
            return f"{number(seconds / size)} {unit}"
    return f"{number(seconds)} s"
