"""A report: what run directories hold, as one HTML file that needs nothing else."""

from deepchem_dft.runs.report.page import Report, write_report

__all__ = ["Report", "write_report"]
