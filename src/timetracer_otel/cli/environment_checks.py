"""Checks a program's environment for variables that would keep it from being recorded or replayed.

If the environment names an exporter or id generator that is not installed, ``opentelemetry-instrument`` logs that,
instruments nothing at all and runs the program. A recording would hold nothing, and a replay would make real calls.
Variables that switch timetracer-otel off have the same effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib.metadata import entry_points

from timetracer_otel.cli.bad_input import CommandError
from timetracer_otel.config import switching_off

__all__ = ["check_environment", "default_exporters"]

_SIGNALS = ("traces", "metrics", "logs")
_OTLP_EXPORTERS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
"""The entry point that ``otlp`` stands for, by protocol (opentelemetry-sdk's ``_EXPORTER_BY_OTLP_PROTOCOL``)."""
_PACKAGES = {
    "otlp_proto_grpc": "opentelemetry-exporter-otlp-proto-grpc",
    "otlp_proto_http": "opentelemetry-exporter-otlp-proto-http",
    "zipkin": "opentelemetry-exporter-zipkin",
    "prometheus": "opentelemetry-exporter-prometheus",
    "xray": "opentelemetry-sdk-extension-aws",
}
_ID_GENERATOR = "OTEL_PYTHON_ID_GENERATOR"
_DISTRO = "opentelemetry.distro:OpenTelemetryConfigurator"
_CONFIG_FILES = ("OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE")
"""Variables that name a file of declarative configuration. With such a file, the file alone says what is loaded."""


def default_exporters(environment: MutableMapping[str, str]) -> None:
    """Keep the distro from choosing an exporter that is not installed.

    ``opentelemetry-distro`` sends each signal to ``otlp`` by gRPC if no variable says otherwise. Variables that the
    user has set stay as they are.
    """
    for signal in _SIGNALS:
        name = _exporters_setting(signal)
        needed = _OTLP_EXPORTERS.get(_protocol(signal, environment))
        if needed is None or environment.get(name, "").strip():
            continue
        if not _installed(f"opentelemetry_{signal}_exporter", needed):
            environment[name] = "none"


def check_environment(environment: Mapping[str, str], *, replaying: bool) -> None:
    """Refuse variables with which the program would run without being recorded or replayed.

    Raises:
        CommandError: There is such a variable; the text has the cure.
    """
    for setting in switching_off("timetracer", sdk=not replaying):
        raise CommandError(
            f"{setting}={environment[setting]}: that switches timetracer-otel off, and nothing would be "
            f"{'replayed' if replaying else 'recorded'}. Unset it for this command."
        )
    _check_components(environment)


def _check_components(environment: Mapping[str, str]) -> None:
    # Other vendors' configurators and declarative configuration load components in ways that are not known here.
    configurators = [entry.value for entry in entry_points(group="opentelemetry_configurator")]
    if configurators != [_DISTRO] or any(environment.get(name) for name in _CONFIG_FILES):
        return
    for setting, group, name in _named(environment):
        if _installed(group, name):
            continue
        package = _PACKAGES.get(name)
        cure = f"pip install {package}" if package else "install the package that has it"
        raise CommandError(
            f"{setting}={environment[setting]}: there is no {name!r} installed, and OpenTelemetry would instrument "
            f"nothing. To have it: {cure}. To do without: take it out of {setting}."
        )


def _named(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Variable, group of entry points and name of each component that the user chose."""
    for signal in _SIGNALS:
        setting = _exporters_setting(signal)
        names = environment.get(setting, "")
        if not names or names.lower().strip() == "none":
            continue
        for name in map(str.strip, names.split(",")):
            protocol = _protocol(signal, environment)
            entry = _OTLP_EXPORTERS.get(protocol, f"otlp by {protocol}") if name == "otlp" else name
            yield setting, f"opentelemetry_{signal}_exporter", entry
    if _ID_GENERATOR in environment:
        yield _ID_GENERATOR, "opentelemetry_id_generator", environment[_ID_GENERATOR]


def _exporters_setting(signal: str) -> str:
    return f"OTEL_{signal.upper()}_EXPORTER"


def _protocol(signal: str, environment: Mapping[str, str]) -> str:
    own = environment.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL")
    return (own or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "grpc").strip()


def _installed(group: str, name: str) -> bool:
    return any(entry_points(group=group, name=name))
