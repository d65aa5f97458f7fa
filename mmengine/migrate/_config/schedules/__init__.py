"""Schedules of a legacy config as schedulers of this engine, and the curves of both."""
