"""What the API says has its Chinese in `ui/src/words`: every reason the code can emit, every sentence of the parts below."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.said_words import reasons_in, sentences_in

ROOT = Path(__file__).parents[2]
WORDS = ROOT / "ui" / "src" / "words"
PROGRAMS = (
    "controller/plum_controller",
    "agent/plum_agent",
    "sdk/python/plum_flow",
    "sdk/python/plum_client",
    "schemas/plum_schemas",
)
SAID_IN_CONDITIONS_AND_EVENTS = (
    "sdk/python/plum_client/explaining",
    "controller/plum_controller/domain",
    "controller/plum_controller/controllers",
    "controller/plum_controller/workflows/admission.py",
    "agent/plum_agent/status.py",
    "agent/plum_agent/probes.py",
    "agent/plum_agent/pressure.py",
    "agent/plum_agent/starter.py",
    "agent/plum_agent/references.py",
    "sdk/python/plum_flow/workflow/controls.py",
    "sdk/python/plum_flow/workflow/decide.py",
    "sdk/python/plum_flow/workflow/endings.py",
    "sdk/python/plum_flow/workflow/bodies.py",
)
SAID_IN_REFUSALS = tuple(
    f"schemas/plum_schemas/{name}.py"
    for name in (
        "artifact", "deployment", "durations", "graph", "instance", "kv", "operation", "quantities", "rbac", "resource", "rules",
        "service", "sync", "taskdefinition", "taskrun", "template_rules", "token", "trigger", "validation", "workflow",
        "workflowrun",
    )
)  # fmt: skip


def chinese_reasons() -> set[str]:
    table = (WORDS / "reasons.ts").read_text()
    return set(re.findall(r"\b([A-Z]\w*): '", table))


def chinese_sentences() -> set[str]:
    found = set()
    for name in ("why.ts", "facts.ts", "refusals.ts"):
        for line in (WORDS / name).read_text().splitlines():
            english, arrow, chinese = line.partition(" => ")
            if arrow and chinese:
                found.add(english.replace("\\`", "`").strip())
    return found


def test_every_reason_that_the_code_can_emit_is_said_in_chinese() -> None:
    said = reasons_in(ROOT, PROGRAMS)
    assert len(said) > 200
    missing = {reason: sorted(files)[:2] for reason, files in said.items() if reason not in chinese_reasons()}
    assert missing == {}, "add them to ui/src/words/reasons.ts"


def test_sentences_of_conditions_events_explanations_and_refusals_are_said_in_chinese() -> None:
    said = sentences_in(ROOT, SAID_IN_CONDITIONS_AND_EVENTS + SAID_IN_REFUSALS)
    assert len(said) > 300
    known = {sentence.rstrip(".") for sentence in chinese_sentences()}
    missing = sorted(f"{sentence}   ({file})" for sentence, file in said.items() if sentence.rstrip(".") not in known)
    assert missing == [], "add them to ui/src/words/why.ts, facts.ts or refusals.ts"
