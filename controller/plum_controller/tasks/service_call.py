"""Executor `service`: a call to an endpoint of a service, found, chosen and retried as the Service says.

    ServiceCall -> Resolver (strategy, circuits, ejection, retries) -> POST {taskId, name, payload}  -> JSON
                                                                    -> gRPC plum.task TaskRequest    -> TaskResponse

One resolver per namespace, kept while the controller runs: what it learned of endpoints serves the next call.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from plum_client.client import ApiClient
from plum_client.errors import ApiUnavailableError, NoEndpointError, NotConnectedError
from plum_client.outgoing import OutgoingAnswer, OutgoingClient, OutgoingError
from plum_client.resolver import Resolver
from plum_client.resolver_strategies import identity
from plum_flow.calls import MAX_OUTPUT_BYTES, Call, TaskFailedError
from plum_flow.http_call import FAILED_FROM, LONGEST_SECONDS, NEVER_RETRIED, SHOWN, value_of
from plum_schemas.durations import parse_duration
from plum_schemas.endpoint import Endpoint
from plum_schemas.taskdefinition import ServiceCall

EXECUTE_TASK = "/plum.task.TaskService/ExecuteTask"
"""The gRPC method unless `path` names another with the same messages."""
ENDPOINT_AT_FAULT_FROM = 500
"""Answers from this status on count against the endpoint; others are about the request."""


class ServiceExecutor:
    """Makes the calls."""

    def __init__(self, outgoing: OutgoingClient, api: ApiClient) -> None:
        """`outgoing` has no allow list but what is always refused: endpoints are made by those who may make services."""
        self._outgoing = outgoing
        self._api = api
        self._resolvers: dict[str, Resolver] = {}

    async def close(self) -> None:
        """End the watches."""
        resolvers, self._resolvers = list(self._resolvers.values()), {}
        await asyncio.gather(*(resolver.close() for resolver in resolvers))

    async def execute(self, call: Call) -> Any:
        """Raises `TaskFailedError` with the status as `code`."""
        service = call.task.service
        assert service is not None  # noqa: S101  the schema says so
        resolver = self._resolvers.get(call.namespace)
        if resolver is None:
            resolver = self._resolvers[call.namespace] = Resolver(self._api, call.namespace)
        try:
            if service.protocol == "grpc":
                return await self._grpc(resolver, service, call)
            return await self._http(resolver, service, call)
        except NoEndpointError as error:
            raise TaskFailedError(str(error), "NoEndpoint") from error
        except ApiUnavailableError as error:
            raise TaskFailedError(str(error), "Unreachable") from error
        except TimeoutError as error:
            text = f"service {service.name} did not answer within the timeout of its Service"
            raise TaskFailedError(text, "EndpointTimeout") from error

    async def _http(self, resolver: Resolver, service: ServiceCall, call: Call) -> Any:
        body = msgspec.json.encode({"taskId": call.name, "name": _name(call), "payload": dict(call.payload)})
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": call.idempotency_key,
            "Plum-Attempt": str(call.attempt),
        }

        async def attempt(endpoint: Endpoint) -> OutgoingAnswer:
            url = (
                f"{service.protocol}://{identity(endpoint)}{service.path if service.path.startswith('/') else '/' + service.path}"
            )
            try:
                return await self._outgoing.request(
                    "POST", url, headers, body, timeout=LONGEST_SECONDS, max_bytes=MAX_OUTPUT_BYTES
                )
            except OutgoingError as error:
                if error.reason in NEVER_RETRIED:
                    raise TaskFailedError(error.message, error.reason, retryable=False) from error
                gone = error.reason in ("Unreachable", "Unresolvable")
                raise (NotConnectedError if gone else ApiUnavailableError)(error.message) from error

        def judge(answer: OutgoingAnswer) -> str:
            return str(answer.status) if answer.status >= ENDPOINT_AT_FAULT_FROM else ""

        answer = await resolver.call(
            service.name,
            attempt,
            version=service.version,
            key=service.hash_key,
            strategy=service.strategy,
            judge=judge,
            timeout_seconds=_timeout(call),
        )
        if answer.status >= FAILED_FROM:
            said = answer.body[:SHOWN].decode(errors="replace")
            text = f"service {service.name} answered {answer.status}: {said}"
            raise TaskFailedError(text, "HttpStatus", str(answer.status))
        return value_of(answer.body)

    async def _grpc(self, resolver: Resolver, service: ServiceCall, call: Call) -> Any:
        import grpc  # 20 MB that a controller without such tasks does without
        from plum_proto.generated.plum.task.task_service_pb2 import TaskRequest, TaskResponse

        method = service.path if service.path not in ("", "/") else EXECUTE_TASK
        request = TaskRequest(task_id=call.name, name=_name(call), payload=msgspec.json.encode(dict(call.payload)).decode())
        metadata = (("idempotency-key", call.idempotency_key), ("plum-attempt", str(call.attempt)))

        async def attempt(endpoint: Endpoint) -> TaskResponse:
            address = identity(endpoint)
            host, _, port = address.rpartition(":")
            try:
                await self._outgoing.resolve("grpc", host.strip("[]"), int(port))
            except OutgoingError as error:
                raise TaskFailedError(error.message, error.reason, retryable=False) from error
            options = [("grpc.max_receive_message_length", 4 * MAX_OUTPUT_BYTES), ("grpc.enable_http_proxy", 0)]
            async with grpc.aio.insecure_channel(address, options=options) as channel:
                ask = channel.unary_unary(
                    method, request_serializer=TaskRequest.SerializeToString, response_deserializer=TaskResponse.FromString
                )
                try:
                    answer: TaskResponse = await ask(request, metadata=metadata)
                    return answer
                except grpc.aio.AioRpcError as error:
                    if error.code() is grpc.StatusCode.UNAVAILABLE:
                        raise ApiUnavailableError(f"{address}: {error.details()}") from error
                    text = f"service {service.name} answered {error.code().name}: {error.details()}"
                    raise TaskFailedError(text, "GrpcStatus", error.code().name) from error

        answer = await resolver.call(
            service.name,
            attempt,
            version=service.version,
            key=service.hash_key,
            strategy=service.strategy,
            timeout_seconds=_timeout(call),
        )
        if answer.error:
            raise TaskFailedError(answer.error)
        return value_of(answer.result.encode())


def _timeout(call: Call) -> float | None:
    """The task's own timeout goes before that of the Service, which is meant for short requests."""
    return parse_duration(call.task.timeout) if call.task.timeout is not None else None


def _name(call: Call) -> str:
    """What the task is called there: the service's own word for it is its path."""
    return call.labels.get("plum.dev/task") or call.task.task or call.name
