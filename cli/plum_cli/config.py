"""Which server a command talks to: flags over what `plum_client.kubeconfig` finds in the environment."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from plum_client import kubeconfig
from plum_client.kubeconfig import KubeconfigError, Server

from plum_cli.errors import UsageError


def find_server(args: argparse.Namespace) -> Server:
    """The server that flags, environment and files name, in this order. Raises `UsageError`."""
    try:
        found = _find(args)
    except KubeconfigError as error:
        raise UsageError(str(error)) from error
    if not found.url.startswith(("http://", "https://")):
        raise UsageError(f"{found.url!r} ({found.source}) is no server address; write for example http://127.0.0.1:8080")
    token = getattr(args, "token", None)
    return replace(found, token=token) if token else found


def _find(args: argparse.Namespace) -> Server:
    address, file, context = (getattr(args, name, None) or "" for name in ("server", "kubeconfig", "context"))
    if address:
        return (
            kubeconfig.resolve({**os.environ, "PLUM_SERVER": address})
            if not file
            else replace(kubeconfig.load(Path(file), context), url=address)
        )
    if file:
        return _with_token(kubeconfig.load(Path(file), context))
    if context:
        path = kubeconfig_path()
        if path is None:
            raise UsageError(f"--context {context} needs a kubeconfig, and there is none; use --kubeconfig FILE")
        return _with_token(kubeconfig.load(path, context))
    return kubeconfig.resolve()


def kubeconfig_path() -> Path | None:
    """The kubeconfig that the environment names, or that `plum dev` wrote here."""
    for variable in ("PLUM_KUBECONFIG", "KUBECONFIG"):
        for name in os.environ.get(variable, "").split(os.pathsep):
            if name and Path(name).exists():
                return Path(name)
    return kubeconfig.LOCAL_KUBECONFIG if kubeconfig.LOCAL_KUBECONFIG.exists() else None


def _with_token(server: Server) -> Server:
    token = os.environ.get("PLUM_TOKEN", "")
    return replace(server, token=token) if token else server
