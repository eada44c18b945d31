"""Reports of runs: tables, figures, a page with audio, rating sheets and provenance.

runs        several runs merged               outlet      output folder that never overwrites user files
cells       tables as data                    marks       which numbers may be bold
tables      tables of a run                   published   tables of published numbers
formats     LaTeX, Markdown, CSV              provenance  sources of every cell
figures     panels, attribution, style        page        page_data; the assets are in `reports/page/`
rating      rating sheets and their results   human       human ratings as cells
pack        the whole report in one folder
"""

from echat_eval.report.pack import PARTS, ReportFiles, build_published, build_report

__all__ = ["PARTS", "ReportFiles", "build_published", "build_report"]
