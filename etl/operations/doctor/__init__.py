"""The doctor: what keeps a sync from working, found out without changing anything."""

from etl.operations.doctor.examination import examine, without_settings
from etl.operations.doctor.finding import Finding, Verdict

__all__ = ["Finding", "Verdict", "examine", "without_settings"]
