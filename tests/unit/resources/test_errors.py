from __future__ import annotations

import msgspec
from plum_controller.resources import errors
from plum_controller.resources.errors import Cause
from plum_schemas.core import Namespace
from plum_schemas.deployment import Deployment

INFO = Deployment.info


def test_not_found_names_the_plural() -> None:
    assert msgspec.json.decode(errors.not_found(INFO, "q").body()) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'deployments.plum.dev "q" not found',
        "reason": "NotFound",
        "details": {"name": "q", "group": "plum.dev", "kind": "deployments"},
        "code": 404,
    }


def test_the_core_group_is_not_named() -> None:
    error = errors.not_found(Namespace.info, "x")

    assert error.message == 'namespaces "x" not found'
    assert error.details == {"name": "x", "kind": "namespaces"}


def test_invalid_names_the_kind_and_every_field() -> None:
    one = Cause(errors.REQUIRED, "Required value", "spec.template")
    two = Cause(errors.INVALID, "Invalid value: -1: must not be negative", "spec.replicas")

    assert errors.invalid(INFO, "q", [one]).message == 'Deployment.plum.dev "q" is invalid: spec.template: Required value'
    both = errors.invalid(INFO, "q", [one, two])
    assert both.message == (
        'Deployment.plum.dev "q" is invalid: [spec.template: Required value, '
        "spec.replicas: Invalid value: -1: must not be negative]"
    )
    assert both.details["kind"] == "Deployment"
    assert both.details["causes"][1] == {
        "reason": "FieldValueInvalid",
        "message": "Invalid value: -1: must not be negative",
        "field": "spec.replicas",
    }


def test_conflict_tells_to_try_again() -> None:
    assert errors.conflict(INFO, "q").message == (
        'Operation cannot be fulfilled on deployments.plum.dev "q": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


def test_failed_preconditions_name_the_kind() -> None:
    assert errors.precondition_failed(INFO, "q", "no").details["kind"] == "Deployment"


def test_a_revision_that_has_not_happened_is_recognised_by_its_cause() -> None:
    error = errors.revision_in_future(999999, 716)

    assert (error.code, error.reason, error.retry_after_seconds) == (504, "Timeout", 1)
    assert "Too large resource version: 999999, current: 716" in error.message
    assert error.details["causes"][0]["reason"] == "ResourceVersionTooLarge"


def test_a_json_patch_that_fails_has_empty_details() -> None:
    error = errors.unprocessable("no path /a")

    assert (error.code, error.reason) == (422, "Invalid")
    assert error.message == "the server rejected our request due to an error in our request: no path /a"
    assert error.status()["details"] == {}


def test_success_carries_the_uid() -> None:
    assert msgspec.json.decode(errors.success(INFO, "q", "u-1")) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": "q", "group": "plum.dev", "kind": "deployments", "uid": "u-1"},
    }
