"""A report over a period: read once, written as a page, a picture, rows or JSON."""

from etl.analytics.report.writing import Format, has_extra, require_extra, write_report

__all__ = ["Format", "has_extra", "require_extra", "write_report"]
