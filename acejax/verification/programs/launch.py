"""How a runner is started on each backend: the command, its environment, and the settings that the runner reads."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from acejax.verification.programs import confine, execute, runner, seccomp

PLACE = "acejax/verification/programs"  # of the runner's files, in our package and in what bubblewrap shows
SHOWN = "/runner"  # where bubblewrap shows them
FIRST_USER_ID = 200_000
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
SYSTEM_FOLDERS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime")


@dataclass(frozen=True)
class Launch:
    """`command` and `environment` start a runner, which talks through the descriptor `socket` of its parent's."""

    command: list[str]
    environment: dict[str, str]


def behind_bubblewrap(socket: int) -> Launch:
    site = _site_folders()
    uid = _own_user_id()
    settings = {
        "socket": socket,
        "uid": uid,
        "package": SHOWN,
        "site": [_shown_at(number) for number in range(len(site))],
        "scratch": runner.SCRATCH,
        "nproc": None if uid is None else runner.MAX_PROCESSES,
        "landlock": None,
        "guard": False,
    }
    environment = ENVIRONMENT | {"HOME": runner.SCRATCH, "TMPDIR": runner.SCRATCH, "PYTHONPATH": SHOWN}
    return Launch([*_bubblewrap(site, environment), *_python(settings)], environment)


def behind_limits(socket: int, scratch: str) -> Launch:
    """`scratch` is the one folder where programs may write."""
    site = _site_folders()
    uid = _own_user_id()
    package = str(PurePath(runner.__file__).parents[3])
    others = 0 if uid is not None else _processes_of_this_user()
    readable = [*_system_paths(), *site, "/proc", "/dev", *SYSTEM_FILES]
    settings = {
        "socket": socket,
        "uid": uid,
        "package": package,
        "site": site,
        "scratch": scratch,
        "nproc": runner.MAX_PROCESSES + others,
        "landlock": [readable, [scratch, "/dev/null"]],
        "guard": True,
    }
    environment = ENVIRONMENT | {"HOME": scratch, "TMPDIR": scratch, "PYTHONPATH": package}
    return Launch(_python(settings), environment)


def _python(settings: Mapping[str, Any]) -> list[str]:
    # -S -s -P: neither site hooks nor the current folder; not -I, which would ignore the fixed hash seed.
    interpreter = [os.path.realpath(sys.executable), "-S", "-s", "-P"]
    return [*interpreter, f"{settings['package']}/{PLACE}/runner.py", json.dumps(settings)]


def _site_folders() -> list[str]:
    """Where installed packages lie."""
    folders = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    return [folder for folder in folders if folder]


def _own_user_id() -> int | None:
    """A user id for this process's sandbox alone; None where only root could take one and we are not."""
    return FIRST_USER_ID + os.getpid() if os.geteuid() == 0 else None


def _system_paths() -> list[str]:
    """The folders that a Python interpreter needs: the system's, and its own installation."""
    roots = ["/usr", *(folder for folder in SYSTEM_FOLDERS if os.path.exists(folder))]
    prefix = os.path.realpath(sys.base_prefix)
    if prefix != "/usr" and not prefix.startswith("/usr/"):
        roots.append(prefix)
    return roots


def _shown_at(number: int) -> str:
    """Where bubblewrap shows a folder of packages: a path of its own, since a virtual environment may lie under the
    scratch folder.
    """
    return f"{SHOWN}/site{number}"


def _bubblewrap(site: list[str], environment: Mapping[str, str]) -> list[str]:
    """Bubblewrap with all its options; the command to run in there comes next."""
    command = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    command += ["--die-with-parent", "--new-session", "--clearenv"]
    if os.geteuid() == 0:
        # Root needs no user namespace here; the runner gives root up for an id of its own, so that process limits hold.
        command += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-user"]
    for name, value in environment.items():
        command += ["--setenv", name, value]
    command += _shown(site)
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", runner.SCRATCH]
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", runner.SCRATCH]


def _shown(site: list[str]) -> list[str]:
    """The options that show the system, the packages and the runner's four files inside, to read only."""
    system = _system_paths()
    extra = {path: path for path in (*SYSTEM_FILES, "/etc/alternatives")}
    extra |= {path: _shown_at(number) for number, path in enumerate(site)}
    options = []
    # Folders that bubblewrap makes on its own account are closed to everyone but their owner.
    places = (*system, *extra.values(), f"{SHOWN}/{PLACE}/runner.py")
    above = {str(folder) for place in places for folder in PurePath(place).parents}
    for path in sorted(above - {"/", *system}):
        options += ["--dir", path]
    for path in system:
        if os.path.islink(path):
            options += ["--symlink", os.readlink(path), path]
        else:
            options += ["--ro-bind", path, path]
    for path, place in extra.items():
        options += ["--ro-bind-try", path, place]
    for module in (runner, execute, confine, seccomp):
        file = str(module.__file__)
        options += ["--ro-bind", file, f"{SHOWN}/{PLACE}/{PurePath(file).name}"]
    return options


def _processes_of_this_user() -> int:
    """Threads of this user on the host: where no user id is ours alone the kernel's process limit counts them all."""
    count = 0
    for entry in os.scandir("/proc"):
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and entry.stat().st_uid == os.geteuid():
                count += len(os.listdir(f"/proc/{entry.name}/task"))
    return count
