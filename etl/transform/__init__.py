"""Payload to run, and run to payload again: pure functions, no I/O, no clock."""

from etl.transform.drift import drift_of
from etl.transform.flatten import flatten
from etl.transform.rebuild import rebuild

__all__ = ["drift_of", "flatten", "rebuild"]
