"""The scheduler's memory: jobs and fleet, each with one owner on the event loop."""
