"""Which packages that come with this one have known vulnerabilities: ``python -m tests.known_vulnerabilities``.

`pip-audit` asks the package index about the versions that are installed here, of what the project requires with all
of its extras. Mirrors of the index mostly do not know about vulnerabilities, and a machine may have no network: then
this says so, and is no failure.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = "timetracer-otel"
EXTRAS = ("all", "audit")


def requirements(project: str = PROJECT, extras: tuple[str, ...] = EXTRAS) -> dict[str, str]:
    """The version of each distribution that is installed because of the project, by its name."""
    found: dict[str, str] = {}
    waiting = [(project, extras)]
    seen = set()
    while waiting:
        name, wanted = waiting.pop()
        name = re.sub(r"[-_.]+", "-", name).lower()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue  # An extra that stands in none of the groups, or a marker of another system.
        if name != project:
            found[name] = installed.version
        for text in installed.requires or ():
            required = Requirement(text)
            marker = required.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *wanted)):
                waiting.append((required.name, tuple(sorted(required.extras))))
    return found


def main() -> int:
    """Print what was found; gives the exit code."""
    pinned = requirements()
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder, "requirements.txt")
        listed.write_text("".join(f"{name}=={version}\n" for name, version in sorted(pinned.items())), "utf-8")
        asked = [
            sys.executable,
            "-m",
            "pip_audit",
            "--progress-spinner",
            "off",
            "--format",
            "json",
            "--timeout",
            "10",
        ]
        done = subprocess.run(
            [*asked, "--no-deps", "--disable-pip", "--requirement", str(listed)],
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        reports = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"known vulnerabilities: not looked for, since the index gives no answer ({_last_line(done.stderr)})")
        return 0
    known = [report for report in reports if "skip_reason" not in report]
    if not known:
        print(f"known vulnerabilities: not looked for, since the index knows none of {len(reports)} packages")
        return 0
    broken = [report for report in known if report["vulns"]]
    for report in broken:
        for each in report["vulns"]:
            cure = ", ".join(each["fix_versions"]) or "no version yet"
            print(f"{report['name']} {report['version']}: {each['id']}, mended in {cure}")
    print(f"known vulnerabilities: {len(broken)} of {len(known)} packages have one")
    return 1 if broken else 0


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1][:200] if text.strip() else "it says nothing"


if __name__ == "__main__":
    sys.exit(main())
