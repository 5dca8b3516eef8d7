"""The runtime: whether this process records each request, replays a cassette or a folder, or does nothing.

It answers the questions of the lower rooms: in which session a call is made (`calls.hooks`), which one a span belongs
to (the span processor), and which one a request gets that comes in (the middlewares).
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from timetracer_otel import logs
from timetracer_otel.base import counters, faults
from timetracer_otel.base.lineage import lineage
from timetracer_otel.base.otel_context import SPAN_ABOVE_KEY, current_context, span_around
from timetracer_otel.base.plugin_names import known_names
from timetracer_otel.calls import hooks
from timetracer_otel.calls.exclusions import ExcludedUrls
from timetracer_otel.calls.hooks import Whereabouts
from timetracer_otel.config import TraceConfig, instrumentation_disabled, mode_is_explicit, replay_is_wanted
from timetracer_otel.constants import TraceMode, Uncaptured
from timetracer_otel.current import forget_session, session_in, session_now, set_ambient_lookup
from timetracer_otel.exceptions import ConfigurationError, TimetracerError
from timetracer_otel.incoming import debugging, jobs
from timetracer_otel.incoming.exclusions import is_excluded
from timetracer_otel.incoming.job_scope import IncomingJob, JobScope
from timetracer_otel.incoming.messages import is_handing_out
from timetracer_otel.incoming.receiver import set_receiver
from timetracer_otel.incoming.scope import IncomingRequest, RequestScope, begins_anew, current_scope, forget_scope
from timetracer_otel.otel import metrics
from timetracer_otel.otel.propagator import carry, stop_carrying
from timetracer_otel.otel.provider import attach, attach_to_future_providers
from timetracer_otel.otel.span_facts import RootSpan, failed, is_server, note_exception, request_path
from timetracer_otel.otel.spans import LiveSpan, LiveSpans
from timetracer_otel.process import closed_world, record_account, sigterm
from timetracer_otel.process.folder_replay import FolderReplay, FolderSession
from timetracer_otel.process.process_recording import ProcessSession
from timetracer_otel.process.process_replay import ProcessReplay
from timetracer_otel.process.recordings import Recordings
from timetracer_otel.process.refusing import RefusingSession
from timetracer_otel.process.shipping import Shipping
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
from timetracer_otel.threads import hold, release

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

__all__ = ["Runtime", "runtime"]


class Runtime:
    """What a process does outside the blocks of `record` and `replay`. Safe from any thread.

    There is one in a process; get it from `runtime`.
    """

    def __init__(self) -> None:
        self.spans: LiveSpans = LiveSpans(self.watch_spans)
        self.whereabouts: Callable[..., Whereabouts] = self.spans.whereabouts
        """Where in the traces a call is made (see `LiveSpans.whereabouts`)."""
        self._processor: SpanProcessor | None = None
        self.takes_requests: bool = False
        """Whether each request gets a session of its own, as it comes in."""
        self._lock = threading.RLock()
        self._config = TraceConfig()
        self._excluded = ExcludedUrls()
        self._recordings: Recordings | None = None
        self._stopping: Recordings | None = None
        self._shipping: Shipping | None = None
        self._process_session: ProcessSession | None = None
        self._replay: ProcessReplay | None = None
        self._folder: FolderReplay | None = None
        self._told = ""
        """What was last logged to be wrong with the settings."""
        self._watching = False
        self._holds = False
        """Whether sessions of the process may be current, so that seams are in and threads get them."""
        self._serves = False
        """Whether a request, message or job has come. Before that, the process may be a script."""

    @property
    def mode(self) -> TraceMode:
        """The mode of calls outside explicit sessions (those of `record` and `replay`)."""
        if self._folder is not None:
            return TraceMode.REPLAY
        if self._replay is not None:
            return self._replay.session.mode
        return TraceMode.RECORD if self.takes_requests else TraceMode.OFF

    @property
    def is_active(self) -> bool:
        """Whether calls outside explicit sessions are recorded or replayed."""
        return self.takes_requests or self._replay is not None

    @property
    def processor(self) -> SpanProcessor:
        """The span processor of this process. Asked for only where a provider is set: it imports the SDK."""
        if self._processor is None:
            from timetracer_otel.otel.processor import SessionSpanProcessor

            self._processor = SessionSpanProcessor(self)
        return self._processor

    def watch_spans(self, provider: Any = None) -> None:
        """Attach the span processor to the provider that is set, or will be set. Contains its faults.

        Args:
            provider: Another provider that it is attached to as well.
        """
        try:
            if provider is not None:
                attach(lambda: self.processor, provider)
            attach(lambda: self.processor)
        except Exception as error:
            faults.contain("provider.attach", error)
        carry()
        if not self._watching:
            self._watching = True
            attach_to_future_providers(lambda: self.processor)

    def start_from_environment(self) -> TraceMode:
        """Do what the environment says; what cannot be done is logged in one line.

        A replay that cannot start refuses every call that it would have answered. The calls must not go to the real
        services instead.
        """
        try:
            config = TraceConfig.from_env()
        except ConfigurationError as error:
            self.refuse(error)
            return self.mode
        faults.logger.setLevel(config.log_level.upper())
        for line in config.warnings(known_names()):
            faults.logger.warning("timetracer-otel: %s", line)
        if config.is_record_mode:
            if not instrumentation_disabled("timetracer"):
                self.start_recording(config)
        elif config.is_replay_mode:
            debugging.attach()
            debugging.start()
            try:
                self.start_replay(config)
            except TimetracerError as error:
                self._refuse(error, config, replaying=True)
        return self.mode

    def start_recording(self, config: TraceConfig | None = None) -> None:
        """Record each request from now on; harmless when repeated.

        Without a configuration the environment is read; where that switches us off, nothing is recorded.

        Raises:
            ConfigurationError: No configuration was given, and the environment has a value that cannot be used.
        """
        if config is None:
            if instrumentation_disabled("timetracer"):
                return
            config = TraceConfig.from_env()
            if mode_is_explicit() and not config.is_record_mode:
                # The exporter's name in OTEL_TRACES_EXPORTER means "record", unless a mode is set.
                return
        begins = False
        self._expect_sessions()
        with self._lock:
            if not self.takes_requests:
                # The app may go to another folder while it runs.
                config = self._config = replace(
                    config, cassette_dir=str(Path(config.spool_dir).absolute()), ship=config.ship_url
                )
                self._excluded = ExcludedUrls()
                # Workers that are forked from here on know that they are.
                lineage()
                self._recordings = Recordings(config, self.spans, self.process_session)
                self._recordings.recover()
                self._shipping = _shipping(config)
                self.takes_requests = True
                begins = True
        if begins:
            closed_world.note()
            logs.hold()
        metrics.offer()
        if config.ship:
            metrics.offer_shipping()
        self._begin()

    def start_replay(self, config: TraceConfig) -> None:
        """Answer every call of the process from the cassette that the configuration names, as its record mode says.

        Where it names a folder, each request, job and message is answered from the cassette recorded for it.

        Raises:
            ConfigurationError: The configuration names no cassette.
            CassetteError: The cassette cannot be read, or what will be recorded cannot be written.
        """
        if config.cassette_path is not None and Path(config.cassette_path).is_dir():
            self._folder = FolderReplay(config)
            self.takes_requests = True
        else:
            self._replay = ProcessReplay(config)
        self._begin()

    def begin_folder(self, folder: FolderReplay) -> None:
        """Answer each request from a folder until `end_folder`, as a block asks for it.

        Raises:
            ConfigurationError: The process records or replays already, by its environment or another such block. The
                folder is closed then.
        """
        with self._lock:
            is_free = not self.is_active
            if is_free:
                self._folder = folder
                self.takes_requests = True
        if not is_free:
            folder.close()
            raise ConfigurationError(
                "replay: the replay of a folder is for the whole process, which records or replays already. End the "
                "other block first, or unset TIMETRACER_MODE."
            )
        set_ambient_lookup(self.ambient_session)
        self.watch_spans()

    def end_folder(self, folder: FolderReplay) -> None:
        """Undo `begin_folder`; harmless when repeated."""
        with self._lock:
            if self._folder is not folder:
                return
            self.takes_requests = False
            self._folder = None
        folder.close()

    def stop(self) -> None:
        """Write the recordings, log what a replay did, and do nothing from now on."""
        with self._lock:
            self.takes_requests = False
            replay, self._replay = self._replay, None
            folder, self._folder = self._folder, None
            process, self._process_session = self._process_session, None
            recordings, self._recordings = self._recordings, None
            self._stopping = recordings
            shipping, self._shipping = self._shipping, None
        stop_carrying()
        sigterm.remove()
        if replay is not None:
            replay.finish()
        if folder is not None:
            folder.finish()
        if recordings is not None:
            closed_world.unnote()
            logs.release()
            recordings.stop()
        if process is not None:
            process.finish()
        if shipping is not None:
            shipping.stop()
        if self._holds:
            self._holds = False
            release()
        if recordings is not None:
            counters.log_losses()
            if self._config.uncaptured is not Uncaptured.RECORD:
                counters.tell_without_plugin()
            if not record_account.tell(self._config.cassette_dir):
                counters.log_discarded()

    def _cut_short(self) -> None:
        """Say what `stop` has not written, as the process ends while it is under way."""
        if self._stopping is not None:
            self._stopping.give_up()
            counters.log_losses()

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until the cassettes of finished requests are on disk; False where that took longer.

        Requests with late calls under way are not waited for: the caller may run on the event loop that makes them.
        """
        recordings = self._recordings
        return recordings is None or recordings.flush(timeout_s)

    def process_session(self) -> BaseSession | None:
        """The session of calls outside any request; made when it is first asked for.

        There is none where only failed and slow requests are recorded (`errors_only`, `policy`): these calls have no
        request that could fail. `sample_rate` is about requests, so it does not count here.
        """
        if not self.takes_requests:
            return self._replay.session if self._replay is not None else None
        if self._folder is not None:
            return self._folder.outside()
        if self._recordings is not None and not self._recordings.keeps_calls_outside:
            return None
        session = self._process_session
        if session is None:
            with self._lock:
                session = self._process_session
                if session is None:
                    session = ProcessSession(self._config, self.spans.by_id.get, self._tidy, self.spans.clients_of)
                    self._process_session = session
                    if self._shipping is not None:
                        self._shipping.wake()
        return session

    def _tidy(self) -> None:
        if self._recordings is not None:
            self._recordings.tidy()

    def stray_session(self) -> BaseSession | None:
        """The session of a call or span without a live span above it: the current request's, or the process's."""
        scope = current_scope()
        return self.process_session() if scope is None else session_now(scope.session)

    def ambient_session(self) -> BaseSession | None:
        """The session of the current request, or of the process."""
        if self._replay is not None:
            return self._replay.session
        if not self.takes_requests:
            return None
        where = self.whereabouts()
        return session_now(where.session) if isinstance(where, LiveSpan) else self.stray_session()

    def reads_body_first(self, incoming: IncomingRequest) -> bool:
        """Whether the session of a request depends on its body, so that a middleware reads that before it begins."""
        return self._folder is not None and begins_anew() and self._folder.expects_body(incoming)

    def request_began(self, incoming: IncomingRequest) -> RequestScope | None:
        """Decide on the session of a request that has come in, before the app is called for it.

        None where the request belongs to a session that is current already. Examples: an explicit one (`record`
        around a test client), or that of the request whose app calls or mounts this app.
        """
        if not self.takes_requests or not begins_anew():
            return None
        around = self._root_around()
        if self._folder is not None:
            return self._folder.request_began(incoming, around)
        if around is not None:
            # A session began with a span around the app. Where that is the span of this request (the user has put
            # OpenTelemetry's middleware around the app), its session takes in what passes here. Where it is another
            # one, a job's for example, this request is only a call that the job makes.
            session = around.session
            if session is None and is_server(around.span):
                # The request was left out when that span began. A scope without a session leaves out the tasks, too,
                # that go on when the span has ended.
                return RequestScope(incoming, None)
            if not is_server(around.span) or not isinstance(session, TraceSession) or session.exchange is not None:
                return None
            return RequestScope(incoming, session)
        wanted = not is_excluded(incoming, self._excluded)
        session = self._begin_recording(incoming.path) if wanted else None
        return RequestScope(incoming, session, self._request_ended)

    def job_began(self, job: IncomingJob) -> JobScope | None:
        """Decide on the session of a job that a worker was given, before its function is called.

        Where the framework's own instrumentation has begun a span for the job, the session that began with the span
        is that of the job.
        """
        if not self.takes_requests:
            return None
        around = self._root_around()
        if self._folder is not None:
            return self._folder.job_began(job, around)
        if around is not None:
            # A job that was left out when its span began stays out, with all that it calls.
            session = around.session
            if session is None or (isinstance(session, TraceSession) and session.exchange is None):
                return JobScope(job, session)
        return JobScope(job, self._begin_recording(None), self._job_ended)

    def refusing(self) -> BaseSession | None:
        """In a replay of a folder: a session for code whose own could not begin; None otherwise."""
        return None if self._folder is None else self._folder.refusing()

    def _root_around(self) -> LiveSpan | None:
        """The live span that began the session around a request or job that has come; None where there is none."""
        self._serves = True
        carry()
        span = span_around(current_context())
        return None if span is None else self.spans.root_of(span.get_span_context().span_id)

    def process_ends(self) -> None:
        """Write everything, as the process ends at once."""
        self.stop()

    def _job_ended(self, scope: JobScope) -> None:
        if isinstance(scope.session, TraceSession):
            self._end(scope.session, scope.failed)

    def outermost_ended(self, session: BaseSession, span: ReadableSpan, began_session: bool) -> None:
        """Tell a session that an outermost span has ended; end the session if it began with the span."""
        if isinstance(session, ReplaySession):
            if began_session and self._folder is not None:
                self._folder.end(session, by_span=True)
            return
        if not isinstance(session, TraceSession) or session.is_finalized:
            return
        scope = session.exchange
        if not isinstance(scope, RequestScope):
            if began_session:
                note_exception(session, span)
                self._end(session, failed(span))
            return
        scope.span_ended(span)
        if began_session and scope.on_end is None:
            if scope.ended:
                self._end(session, scope.failed)
            else:
                # The span of the user's middleware ends with the response, and the app may go on after that.
                scope.on_end = self._request_ended

    def _request_ended(self, scope: RequestScope) -> None:
        if isinstance(scope.session, TraceSession):
            self._end(scope.session, scope.failed)

    def _end(self, session: TraceSession, has_failed: bool) -> None:
        recordings = self._recordings
        if recordings is not None:
            recordings.end(session, has_failed)

    def _begin_recording(self, path: str | None) -> TraceSession | None:
        """A session for a request that begins now; None where it is left out, with all calls below it."""
        config, recordings = self._config, self._recordings
        if recordings is None or (path is not None and not config.should_trace(path)):
            return None
        if self._shipping is not None:
            self._shipping.wake()
        return recordings.begin()

    def session_of(
        self, span: Span, parent: LiveSpan | None, context: Context | None, *, is_client: bool
    ) -> tuple[BaseSession | None, bool] | None:
        """The session of a span that starts, whose context has none, and whether it begins with the span.

        Args:
            span: The span.
            parent: Its parent, where that is live here.
            context: Its parent context; None: the current one.
            is_client: Whether it stands for a call to somebody else.

        Returns:
            None where nothing happens outside explicit sessions: the span need not be kept.
        """
        if not self.is_active:
            return None
        if is_handing_out(context):
            return None, False
        if is_client and jobs.has_worker and jobs.is_outside_jobs(context):
            # A worker's own traffic with its broker is no call of the app.
            return None, False
        if parent is not None:
            return parent.session, False
        is_local_root = span.parent is None or span.parent.is_remote
        # A client span without a parent is a call outside any request.
        if is_local_root and self.takes_requests and not is_client:
            if span.kind is not SpanKind.INTERNAL:
                self._serves = True
            elif (not self._serves and self._folder is None) or _is_below(context):
                # A step of a script, of the start of a service, or of a thread that outlives its request: what it
                # calls goes to the cassette of the process.
                return self.stray_session(), False
            session = self._open_root(span, context)
            return session, not isinstance(session, FolderSession)
        return self.stray_session(), False

    @staticmethod
    def carries_telemetry() -> bool:
        """Whether a span that begins is of telemetry that is sent."""
        return closed_world.carries_telemetry()

    def _open_root(self, span: Span, context: Context | None) -> BaseSession | None:
        scope = current_scope()
        if scope is not None and not scope.ended:
            # The app gave the span a new context of its own making, in which the request's session is missing.
            return scope.session
        if self._folder is not None:
            return self._folder.span_began(span, context)
        session = self._begin_recording(request_path(span))
        if session is None:
            return None
        session.trace_id = f"{span.get_span_context().trace_id:032x}"
        session.origin = RootSpan(span)
        tracer = span.instrumentation_scope
        session.framework = tracer.name.rpartition(".")[2] if tracer else ""
        return session

    def _expect_sessions(self) -> None:
        """Let the seams be in, and threads get sessions, from now on until `stop`."""
        if not self._holds:
            self._holds = True
            hold()

    def _begin(self) -> None:
        self._expect_sessions()
        set_ambient_lookup(self.ambient_session)
        sigterm.watch(self.stop, self._cut_short)
        self.watch_spans()

    def refuse(self, error: ConfigurationError, *, replaying: bool | None = None) -> None:
        """Log in one line what is wrong with the settings. Where a replay is wanted, every call is refused then.

        Args:
            error: What is wrong.
            replaying: Whether a replay is wanted; without it, what the settings say that can be read.
        """
        self._refuse(error, TraceConfig(), replaying=replay_is_wanted() if replaying is None else replaying)

    def _refuse(self, error: Exception, config: TraceConfig, *, replaying: bool) -> None:
        if str(error) != self._told:
            # The exporter and the instrumentor read the same settings.
            self._told = str(error)
            faults.logger.error("timetracer-otel: %s", error)
        if replaying and self._replay is None:
            refusing = RefusingSession(
                "This replay could not start",
                config,
                cause=str(error),
                hint="mend the setting, or unset TIMETRACER_MODE to make real calls.",
            )
            self._replay = ProcessReplay(config, refusing)
            self._begin()

    def _after_fork(self) -> None:
        # Threads, files, sessions and open spans belong to the parent.
        self._lock = threading.RLock()
        self.spans.clear()
        self._process_session = None
        if self._folder is not None:
            self._folder.after_fork()
        explicit = session_in(None)
        if isinstance(explicit, TraceSession):
            explicit.disown(self.process_session if self.takes_requests else None)
        if self._recordings is not None:
            self._recordings.abandon()
            self._recordings = Recordings(self._config, self.spans, self.process_session)
            if self._shipping is not None:
                self._shipping.abandon()
                self._shipping = _shipping(self._config)
            # Calls made here belong to the child process, and to no request of the parent's.
            forget_session()
            forget_scope()
        counters.forget()
        sigterm.watch_forked(self, self.stop)


def _shipping(config: TraceConfig) -> Shipping | None:
    return Shipping(config.cassette_dir, config.ship, config.ship_s) if config.ship else None


def _is_below(context: Context | None) -> bool:
    """Whether the thread was started in a span, of a request that has ended since."""
    return (current_context() if context is None else context).get(SPAN_ABOVE_KEY) is not None


@lru_cache(maxsize=1)
def runtime() -> Runtime:
    """The runtime of this process."""
    made = Runtime()
    hooks.whereabouts = made.whereabouts
    hooks.watch_spans = made.watch_spans
    hooks.carries_telemetry = closed_world.carries_telemetry
    set_receiver(made)
    atexit.register(made.stop)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=made._after_fork)
    return made
