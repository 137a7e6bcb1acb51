"""Replays a job trace through the planner, the policies and the state machine."""
