"""The report of a run: one page that opens from disk, plots, tables, and the words that explain them."""

from genuq.report.drawing.pictures import sample_grid
from genuq.report.run.tables import terminal_table
from genuq.report.run.writing import write_report

__all__ = ["sample_grid", "terminal_table", "write_report"]
