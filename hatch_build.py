"""Where the project is hosted, for the metadata of a release: the one who builds it says so, by PROJECT_URL.

No address stands in the sources. A repository may move, and a fork has another one. The workflow of a release knows
its own (`.github/workflows/release.yml`).
"""

from __future__ import annotations

import os
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

__all__ = ["ProjectUrls"]


class ProjectUrls(MetadataHookInterface):
    """Gives `[project.urls]` below the address in PROJECT_URL; without it there are none."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in the field that pyproject.toml declares as dynamic."""
        base = os.environ.get("PROJECT_URL", "").rstrip("/")
        if base:
            metadata["urls"] = {
                "Source": base,
                "Documentation": f"{base}/blob/main/docs/README.md",
                "Changelog": f"{base}/blob/main/CHANGELOG.md",
                "Issues": f"{base}/issues",
                "Security": f"{base}/blob/main/SECURITY.md",
            }
