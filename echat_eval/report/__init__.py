"""What is handed out of a run: tables, figures, a page to listen to, rating sheets, provenance.

merged      several runs read as one          outlet      where files go, and what is never overwritten
cells       tables as data                    marks       what may be bold
tables      the tables of a run               published   the tables of others
formats     LaTeX, Markdown, CSV              provenance  what every cell rests on
figures     panels, heard, style              page        page_data; the assets are `reports/page/`
sheet       rating by people                  ratings     what came back
pack        all of it, in one folder
"""

from echat_eval.report.pack import PARTS, ReportFiles, build_published, build_report

__all__ = ["PARTS", "ReportFiles", "build_published", "build_report"]
