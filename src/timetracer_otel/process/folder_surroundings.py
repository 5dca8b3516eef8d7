"""What a block that replays a folder switches on: besides the seams, the middlewares of frameworks and task queues.

A module of its own, since blocks of one cassette need none of these, nor the time that it takes to import them.
"""

from __future__ import annotations

from timetracer_otel.calls.library import activate_all, deactivate_all
from timetracer_otel.config import TraceConfig
from timetracer_otel.incoming import frameworks
from timetracer_otel.process.folder_replay import FolderReplay, FolderSession
from timetracer_otel.process.runtime import runtime
from timetracer_otel.threads import hold, linger, release

__all__ = ["FolderSurroundings"]


class FolderSurroundings:
    """The replay of a folder in this process, from when this is made until `end`.

    Args:
        config: Its ``cassette_path`` is the folder.

    Raises:
        ConfigurationError: The process records or replays already, or the record mode is one for a single cassette.
        CassetteError: No cassette of the folder can be read.
    """

    def __init__(self, config: TraceConfig) -> None:
        self._folder = FolderReplay(config, by_environment=False)
        runtime().begin_folder(self._folder)
        self.session: FolderSession = self._folder.outside()
        self._plugins = activate_all()
        frameworks.install(lambda _: True)
        hold()

    def end(self) -> None:
        """Switch off what was switched on."""
        runtime().end_folder(self._folder)
        frameworks.remove()
        deactivate_all(self._plugins)
        linger(self.session)
        release()
