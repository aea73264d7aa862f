"""What a run of a task waits for, and since when."""

from __future__ import annotations

from dataclasses import replace

from plum_client.explaining.findings import Finding, Object, Situation, ago_text, condition, deletion_text, name_of, sentence
from plum_client.explaining.times import age

ENDED = ("Succeeded", "Failed", "Timeout", "Canceled", "Unknown")


def explain_task(item: Object, situation: Situation) -> Finding:
    """Where a TaskRun is in its life."""
    if deleting := deletion_text(item, situation):
        return Finding(deleting)
    status = item.get("status") or {}
    phase, name = str(status.get("phase") or "Queued"), name_of(item)
    limits = _limits(item)
    if phase in ENDED:
        ended = _ended(name, phase, status, situation)
        return replace(ended, because=(*ended.because, *limits))
    explain = {"Queued": _queued, "Pending": _pending}.get(phase, _running)
    finding = explain(item, situation)
    finding = replace(finding, because=(*finding.because, *limits))
    canceled = (item.get("spec") or {}).get("canceled")
    if canceled:
        return Finding(finding.text, (*finding.because, Finding("It was cancelled and ends as soon as its holder has let go.")))
    return finding


def _limits(item: Object) -> list[Finding]:
    told = condition(item, "ResourceLimits") or {}
    return [Finding(sentence(f"On its node {told.get('message')}"))] if told.get("status") == "False" else []


def _ended(name: str, phase: str, status: Object, situation: Situation) -> Finding:
    ago = ago_text(status.get("finishedAt"), situation)
    attempts = int(status.get("attempt") or 0)
    tried = f" after {attempts} attempts" if attempts > 1 else ""
    if phase == "Succeeded":
        return Finding(f"{name} succeeded{ago}{tried}.", settled=True)
    reasons = [Finding(sentence(str(status["error"])))] if status.get("error") else []
    if phase == "Unknown":
        reasons.append(
            Finding("It is executed at most once, so it is not repeated; run it again with `plum task retry` if that is safe.")
        )
    return Finding(f"{name} ended as {phase}{ago}{tried}: {status.get('reason') or 'no reason was given'}.", tuple(reasons))


def _queued(item: Object, situation: Situation) -> Finding:
    status = item.get("status") or {}
    since = age(status.get("queuedAt") or item["metadata"].get("creationTimestamp"), situation.now)
    if not status.get("reason"):
        hint = Finding("Is the controller running with its controllers on? See `plum doctor`.")
        return Finding(f"{name_of(item)} waits since {since} to be admitted.", (hint,))
    said = Finding(sentence(f"{status['reason']}: {status.get('error') or 'no more is known'}"))
    return Finding(f"{name_of(item)} waits since {since} to be admitted.", (said,))


def _pending(item: Object, situation: Situation) -> Finding:
    status = item.get("status") or {}
    task = status.get("task") or {}
    executor, attempt = str(task.get("executor") or "embedded"), status.get("attempt") or 1
    since = age((condition(item, "Succeeded") or {}).get("lastTransitionTime") or status.get("queuedAt"), situation.now)
    reasons: list[Finding] = []
    if status.get("nextAttemptAt"):
        last = f" after {status.get('reason')}: {status.get('error')}" if status.get("reason") else ""
        reasons.append(Finding(sentence(f"Attempt {attempt} starts at {status['nextAttemptAt']}{last}")))
    elif executor in ("os_process", "container"):
        reasons.append(_node(status, situation))
    elif executor == "embedded" and not str(task.get("task")).startswith("builtin."):
        reasons.append(_worker(item, str(task.get("task")), situation))
    else:
        reasons.append(Finding("The controller executes it as soon as a place is free (PLUM_TASKS_IN_FLIGHT)."))
    return Finding(f"{name_of(item)} waits since {since} for attempt {attempt}.", tuple(reasons))


def _node(status: Object, situation: Situation) -> Finding:
    node = str(status.get("node") or "")
    if not node:
        return Finding(sentence(str(status.get("error") or "No node was chosen yet")))
    ready = condition(situation.nodes.get(node) or {}, "Ready") or {}
    if ready.get("status") == "True":
        return Finding(f"Node {node} takes it as soon as it has a place free (PLUM_TASKS_AT_ONCE).")
    return Finding(f"Node {node} has it to do and does not answer: {ready.get('message') or 'it has never reported'}.")


def _worker(item: Object, task: str, situation: Situation) -> Finding:
    able = [worker for worker in situation.workers if task in ((worker.get("spec") or {}).get("tasks") or ())]
    if not able:
        return Finding(f"No worker in namespace {item['metadata'].get('namespace')} has registered the task {task}.")
    holds = sum(int((worker.get("status") or {}).get("running") or 0) for worker in able)
    return Finding(f"{len(able)} workers run the task {task} and hold {holds} runs; it waits for the first that is free.")


def _running(item: Object, situation: Situation) -> Finding:
    status = item.get("status") or {}
    holder = (
        f"node {status['node']}"
        if status.get("node")
        else str(status.get("worker") or "a worker").replace("controller/", "the controller, ")
    )
    since = age(status.get("attemptStartedAt"), situation.now)
    reasons = []
    if status.get("progress") is not None:
        share = f"{round(float(status['progress']) * 100)} %"
        reasons.append(Finding(sentence(f"It reports {share}: {status.get('progressMessage') or 'no words'}")))
    ready = condition(situation.nodes.get(str(status.get("node"))) or {}, "Ready") or {}
    if status.get("node") and ready.get("status") != "True":
        reasons.append(Finding(f"Node {status['node']} does not answer; its result comes when it does."))
    limit = (status.get("task") or {}).get("timeout")
    if limit:
        reasons.append(Finding(f"It is ended when the attempt has taken {limit}."))
    return Finding(f"{name_of(item)} is executed by {holder} since {since}, attempt {status.get('attempt')}.", tuple(reasons))
