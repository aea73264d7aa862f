"""`plum install systemd`: make controller or agent a service of this machine."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from plum_cli import arguments
from plum_cli.errors import CONFLICT, OK, CliError, UsageError

if TYPE_CHECKING:
    from plum_cli.systemd_units import Choice

SECRETS = ("PLUM_JOIN_TOKEN", "PLUM_TOKEN")
"""Settings of an agent that are taken from the environment: on a command line others would see them."""
RUNNING_MANAGER = Path("/run/systemd/system")
"""Is there while systemd is what manages the machine."""
SECRETS = ("PLUM_TOKEN", "PLUM_JOIN_TOKEN")
"""Settings of the agent that are taken from the environment, where no other user sees them, and are not printed."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `plum install`."""
    arguments.describe(
        parser,
        """
        Write the systemd unit of the controller or of the agent, and beside it the file of its settings. An installed
        unit is written again, the file of settings is left as it is. Workloads do not notice when the agent's unit is
        stopped, restarted, or removed.
        """,
        """
        plum install systemd controller --secure-listen 0.0.0.0:8443 --now
        PLUM_JOIN_TOKEN=... plum install systemd agent --node boat-1 --controller https://shore:8443 --now
        plum install systemd agent --node boat-1 --controller https://shore:8443 --dry-run
        plum install systemd controller --user
        plum install systemd agent --remove
        """,
    )
    parser.add_argument("manager", choices=["systemd"], help="what runs services here")
    parser.add_argument("program", choices=["controller", "agent"], help="what becomes a service")
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--user", action="store_true", help="a service of yours alone (systemctl --user), without root")
    root = scope.add_argument("--root", metavar="DIR", help="root folder of another system, such as an image that is being made")
    parser.add_argument("--python", metavar="FILE", help="interpreter over there that has Plum; default: this one")
    parser.add_argument("--run-as", default="", metavar="USER", help="user of the controller; default: one made up by systemd")
    parser.add_argument("--listen", metavar="HOST:PORT", help="controller: address of the API")
    parser.add_argument("--secure-listen", metavar="HOST:PORT", help="controller: a second listener, with TLS")
    parser.add_argument("--node", metavar="NAME", help="agent: name of the node")
    parser.add_argument("--controller", metavar="URL", help="agent: address of the controller")
    ca = parser.add_argument("--ca-file", metavar="FILE", help="agent: the controller's pki/ca.crt")
    parser.add_argument("--now", action="store_true", help="also enable and start it")
    parser.add_argument("--force", action="store_true", help="replace a unit that somebody else wrote")
    parser.add_argument("--remove", action="store_true", help="stop it and delete its unit; settings and data stay")
    parser.add_argument("--dry-run", action="store_true", help="only print what would be written")
    arguments.completes(root, arguments.DIRECTORY_COMPLETION)
    arguments.completes(ca, arguments.FILE_COMPLETION)


def run(args: argparse.Namespace) -> int:
    """Write, print or remove the unit."""
    values = _values(args)
    if args.now and args.root:
        raise UsageError("--now starts a service of this machine, --root writes for another; use one of them")
    if args.remove:
        return _remove(args)
    from plum_cli.systemd_units import settings, unit

    choice = _choice(args)
    folder, config = _folders(args)
    unit_file, settings_file = folder / choice.name, config / choice.settings_name
    if args.dry_run:
        print(f"# {unit_file}\n{unit(choice)}\n# {settings_file}\n{_hidden(settings(args.program, values))}", end="")
        return OK
    _check(args, choice, unit_file)
    existed = settings_file.exists()
    if not existed:
        _write(settings_file, settings(args.program, values), 0o600)
        print(f"{settings_file} written")
    elif values:
        print(f"{settings_file} is there and stays as it is; what it says counts")
    changed = not unit_file.exists() or unit_file.read_text() != unit(choice)
    if changed:
        _write(unit_file, unit(choice), 0o644)
    print(f"{unit_file} {'written' if changed else 'unchanged'}")
    _start(args, choice)
    return OK


def _values(args: argparse.Namespace) -> dict[str, str]:
    """The settings that were given. Raises `UsageError` for those of the other program."""
    names = {
        "controller": {"listen": "CONTROLLER_ADDR", "secure_listen": "PLUM_SECURE_LISTEN"},
        "agent": {"node": "AGENT_NODE_ID", "controller": "CONTROLLER_BASE", "ca_file": "PLUM_CA_FILE"},
    }
    other = "agent" if args.program == "controller" else "controller"
    for option in names[other]:
        if getattr(args, option):
            raise UsageError(f"--{option.replace('_', '-')} is for the {other}, not for the {args.program}")
    if args.run_as and args.program == "agent":
        raise UsageError("--run-as is for the controller; the agent runs as root, or with --user as you")
    values = {name: getattr(args, option) for option, name in names[args.program].items() if getattr(args, option)}
    if "PLUM_CA_FILE" in values:
        values["PLUM_CA_FILE"] = str(Path(values["PLUM_CA_FILE"]).absolute())
    if args.program == "agent":
        values |= {name: os.environ[name] for name in SECRETS if os.environ.get(name)}
    for name, value in values.items():
        if not value.isprintable():
            raise UsageError(f"{name} has characters that a file of settings cannot hold")
    return values


def _hidden(text: str) -> str:
    lines = (f'{name}="..."' if (name := line.partition("=")[0]) in SECRETS else line for line in text.splitlines())
    return "\n".join(lines) + "\n"


def _choice(args: argparse.Namespace) -> Choice:
    from plum_cli.execute import command_of
    from plum_cli.systemd_units import Choice

    module = f"plum_{args.program}"
    command = (args.python, "-m", module) if args.python else tuple(command_of(module, ()))
    command = (_lasting(command[0]), *command[1:])
    if not command[0].startswith("/"):
        raise UsageError(f"--python is {command[0]!r}; systemd wants a full path")
    ports = (address.rpartition(":")[2] for address in (args.listen, args.secure_listen) if address)
    return Choice(
        program=args.program,
        command=command,
        user_manager=args.user,
        run_as=args.run_as,
        reads_home=any(Path(path).parts[1:2] in (("home",), ("root",)) for path in _paths(command[0])),
        low_port=any(port.isdigit() and 0 < int(port) < 1024 for port in ports),
        systemd_version=_systemd_version(),
    )


def _lasting(interpreter: str) -> str:
    """An interpreter in a release that a bundle brought, by the link that the next release will move."""
    path = Path(interpreter)
    release = path.parents[1] if len(path.parents) > 1 else path
    current = release.parents[1] / "current" if release.parent.name == "releases" else release
    return str(current / "bin" / path.name) if current.is_symlink() else interpreter


def _paths(interpreter: str) -> list[str]:
    """Where an interpreter is: its environment, and what that was made from."""
    return [interpreter, os.path.realpath(interpreter)]


def _systemd_version() -> int:
    """Release of systemd here; of one that does not say, the newest is assumed."""
    import re
    import subprocess

    from plum_cli.systemd_units import DELEGATE_SUBGROUP_SINCE

    try:
        text = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return DELEGATE_SUBGROUP_SINCE
    found = re.match(r"systemd (\d+)", text)
    return int(found[1]) if found else DELEGATE_SUBGROUP_SINCE


def _folders(args: argparse.Namespace) -> tuple[Path, Path]:
    """Where units and settings go."""
    if args.user:
        config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        return config / "systemd/user", config / "plum"
    root = Path(args.root or "/")
    if not root.is_dir():
        raise UsageError(f"--root {root}: there is no such folder")
    return root / "etc/systemd/system", root / "etc/plum"


def _check(args: argparse.Namespace, choice: Choice, unit_file: Path) -> None:
    """Raises `CliError` before anything is touched."""
    from plum_cli.systemd_units import MARK

    if not args.user and not args.root and os.geteuid() != 0:
        raise CliError("writing a unit for the whole machine needs root; use sudo, or --user for a service of yours alone")
    if unit_file.exists() and not args.force and not unit_file.read_text(errors="replace").startswith(MARK):
        raise CliError(f"{unit_file} was not written by this command; --force replaces it", CONFLICT)
    if args.program == "controller" and not args.user and not args.root and args.run_as != "root":
        closed = _closed_folder(choice.command[0])
        if closed:
            raise CliError(
                f"the user of the service cannot enter {closed}, where the interpreter {choice.command[0]} is; "
                "install Plum elsewhere (plum bundle install --to /opt/plum), or use --run-as"
            )
        if any(Path(path).is_relative_to(folder) for path in _paths(choice.command[0]) for folder in ("/tmp", "/var/tmp")):  # noqa: S108
            raise CliError(
                f"the service has a /tmp of its own and does not see the interpreter {choice.command[0]}, which a reboot may "
                "delete as well; install Plum elsewhere (plum bundle install --to /opt/plum)"
            )


def _closed_folder(interpreter: str) -> str:
    """The first folder on the way to the interpreter that only its owner may enter; empty if there is none."""
    for path in _paths(interpreter):
        for folder in reversed(Path(path).parents):
            if folder.is_dir() and not folder.stat().st_mode & 0o001:
                return str(folder)
    return ""


def _write(path: Path, text: str, mode: int) -> None:
    """All of it or nothing; what others may not read they may at no moment."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        new.touch(0o600, exist_ok=False)
        new.write_text(text, encoding="utf-8")
        new.chmod(mode)
        new.replace(path)
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror or error}") from error


def _systemctl(args: argparse.Namespace, *words: str) -> None:
    import subprocess

    command = ["systemctl", *(["--user"] if args.user else []), *words]
    sys.stdout.flush()
    try:
        done = subprocess.run(command)
    except OSError as error:
        raise CliError(f"{command[0]} cannot be run: {error.strerror}; is systemd installed?") from error
    if done.returncode != 0:
        raise CliError(f"`{' '.join(command)}` failed; `journalctl -u plum-{args.program}` may say why")


def _start(args: argparse.Namespace, choice: Choice) -> None:
    name, scope = choice.name.removesuffix(".service"), " --user" if args.user else ""
    if args.now:
        _systemctl(args, "daemon-reload")
        _systemctl(args, "enable", name)
        _systemctl(args, "restart", name)
        print(f"{name} runs; systemctl{scope} status {name}")
    elif not args.root:
        print(f"start it with: systemctl{scope} daemon-reload && systemctl{scope} enable --now {name}")
    if args.user:
        print("it ends when you log out, unless: loginctl enable-linger")


def _remove(args: argparse.Namespace) -> int:
    from plum_cli.systemd_units import MARK

    folder, config = _folders(args)
    name = f"plum-{args.program}.service"
    unit_file = folder / name
    if not unit_file.exists():
        print(f"{unit_file} is not there")
        return OK
    if not args.force and not unit_file.read_text(errors="replace").startswith(MARK):
        raise CliError(f"{unit_file} was not written by this command; --force deletes it", CONFLICT)
    if args.dry_run:
        print(f"would delete {unit_file}")
        return OK
    managed = not args.root and (args.user or RUNNING_MANAGER.is_dir())
    if managed:
        _systemctl(args, "disable", "--now", name)
    unit_file.unlink()
    if managed:
        _systemctl(args, "daemon-reload")
    print(f"{unit_file} deleted; {config / args.program}.env and the data stay")
    return OK
