"""A recording, or how two of them differ, as one HTML file that needs nothing else (``timetracer-otel view``).

`data` makes what is shown, of the same functions as the text of ``show`` and ``diff``. `document` puts it into the
page. The page's own code stands in `files`: plain JavaScript modules, without a build step.
"""

from timetracer_otel.report.page.data import Account, comparison_data, recording_data
from timetracer_otel.report.page.document import document

__all__ = ["Account", "comparison_data", "document", "recording_data"]
