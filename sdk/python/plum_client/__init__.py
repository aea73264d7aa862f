"""The operator framework: requests, watches, informers, work queues and the reconcile loop.

The names below can be imported from here; each is loaded from its module on first use, so a program pays only for what it needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plum_schemas.base import KindInfo as KindInfo
    from plum_schemas.base import ObjectKey as ObjectKey

    from plum_client.client import ApiClient as ApiClient
    from plum_client.conditions import find_condition as find_condition
    from plum_client.conditions import set_condition as set_condition
    from plum_client.controller import Controller as Controller
    from plum_client.controller import Watch as Watch
    from plum_client.errors import TerminalError as TerminalError
    from plum_client.events import EventRecorder as EventRecorder
    from plum_client.fake import FakeApi as FakeApi
    from plum_client.finalizers import ensure_finalizer as ensure_finalizer
    from plum_client.finalizers import remove_finalizer as remove_finalizer
    from plum_client.http_transport import HttpTransport as HttpTransport
    from plum_client.informer import Informer as Informer
    from plum_client.kubeconfig import connect as connect
    from plum_client.leader import LeaderElection as LeaderElection
    from plum_client.manager import Manager as Manager
    from plum_client.owners import owned_by as owned_by
    from plum_client.reconciler import Reconciler as Reconciler
    from plum_client.reconciler import Result as Result
    from plum_client.resolver import Resolver as Resolver
    from plum_client.resolver_http import ServiceClient as ServiceClient
    from plum_client.simulated import run_simulated as run_simulated
    from plum_client.testing import converge as converge

_MODULES = {
    "ApiClient": "plum_client.client",
    "Controller": "plum_client.controller",
    "EventRecorder": "plum_client.events",
    "FakeApi": "plum_client.fake",
    "HttpTransport": "plum_client.http_transport",
    "Informer": "plum_client.informer",
    "KindInfo": "plum_schemas.base",
    "LeaderElection": "plum_client.leader",
    "Manager": "plum_client.manager",
    "ObjectKey": "plum_schemas.base",
    "Reconciler": "plum_client.reconciler",
    "Resolver": "plum_client.resolver",
    "Result": "plum_client.reconciler",
    "ServiceClient": "plum_client.resolver_http",
    "TerminalError": "plum_client.errors",
    "Watch": "plum_client.controller",
    "connect": "plum_client.kubeconfig",
    "converge": "plum_client.testing",
    "ensure_finalizer": "plum_client.finalizers",
    "find_condition": "plum_client.conditions",
    "owned_by": "plum_client.owners",
    "remove_finalizer": "plum_client.finalizers",
    "run_simulated": "plum_client.simulated",
    "set_condition": "plum_client.conditions",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'plum_client' has no attribute {name!r}")
    return getattr(importlib.import_module(module), name)
