"""Overlays, substitution and encrypted manifests, on trees of files in memory."""

from __future__ import annotations

import textwrap
from typing import Any

import pyrage
import pytest
from plum_controller.manifests.document import Found
from plum_controller.manifests.loading import Loader, Options
from plum_controller.manifests.patches import PatchError, apply_json, merge
from plum_controller.manifests.tree import Tree


def load(files: dict[str, str | bytes], **options: Any) -> Found:
    contents = {
        path: text if isinstance(text, bytes) else textwrap.dedent(text).lstrip("\n").encode() for path, text in files.items()
    }
    return Loader().load(Tree(contents), Options(**options))


def objects(found: Found) -> dict[str, dict[str, Any]]:
    assert not found.problems, [str(problem) for problem in found.problems]
    return {f"{document.kind}/{document.name}": document.data for document in found.documents}


def problems(found: Found) -> list[str]:
    return [str(problem) for problem in found.problems]


DEPLOYMENT = """
apiVersion: plum.dev/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  template:
    image: registry.example:5000/web:1.0
    envFrom: [{configMapRef: {name: settings}}]
    env:
      - {name: MODE, value: demo}
      - {name: TOKEN, valueFrom: {secretKeyRef: {name: keys, key: token}}}
"""


def test_files_and_folders_without_an_overlay_are_read_as_they_are() -> None:
    found = load({"a.yaml": DEPLOYMENT, "deep/b.yml": DEPLOYMENT.replace("web}", "shop}"), ".git/c.yaml": "x", "note.txt": "x"})

    assert set(objects(found)) == {"Deployment/web", "Deployment/shop"}


def test_without_recursion_only_the_folder_itself_is_read() -> None:
    files: dict[str, str | bytes] = {"a.yaml": DEPLOYMENT, "deep/b.yaml": "rubbish"}

    assert set(objects(load(files, recurse=False))) == {"Deployment/web"}


def test_ignored_files_are_left_alone() -> None:
    files: dict[str, str | bytes] = {"a.yaml": DEPLOYMENT, "app/package.json": '{"name": "x"}', "b.test.yaml": "rubbish: ["}

    assert set(objects(load(files, ignore=["app/*", "*.test.yaml"]))) == {"Deployment/web"}


def test_a_zero_byte_file_is_refused_and_a_file_of_comments_is_not() -> None:
    found = load({"a.yaml": b"", "b.yaml": "# nothing yet\n"})

    assert len(found.problems) == 1
    assert problems(found)[0].startswith("a.yaml:1: is empty")


def test_every_problem_is_told_with_file_and_line() -> None:
    found = load({"a.yaml": "kind: X\nmetadata: {name: x}\n", "b.yaml": "a: [\n", "c.yaml": b"\xff\xfe\x00"})

    assert [text.partition(": ")[0] for text in problems(found)] == ["a.yaml:1", "b.yaml:2", "c.yaml:1"]


def overlay(text: str, **more: str | bytes) -> dict[str, str | bytes]:
    base = "resources: [web.yaml]\n"
    return {
        "base/web.yaml": DEPLOYMENT,
        "base/kustomization.yaml": base,
        "prod/kustomization.yaml": textwrap.dedent(text),
        **more,
    }


def test_an_overlay_changes_names_references_images_labels_and_counts() -> None:
    found = load(
        overlay(
            """
            resources: [../base]
            namePrefix: prod-
            nameSuffix: -eu
            namespace: shop
            commonLabels: {stage: prod}
            images: [{name: "registry.example:5000/web", newTag: "2.0"}]
            replicas: [{name: web, count: 5}]
            configMapGenerator: [{name: settings, literals: [LEVEL=info]}]
            secretGenerator: [{name: keys, literals: [token=abc]}]
            """
        ),
        start="prod",
    )

    by_name = objects(found)
    web = by_name["Deployment/prod-web-eu"]
    template = web["spec"]["template"]
    settings = next(name for name in by_name if name.startswith("ConfigMap/")).partition("/")[2]
    keys = next(name for name in by_name if name.startswith("Secret/")).partition("/")[2]
    assert settings.startswith("prod-settings-eu-")
    assert template["envFrom"][0]["configMapRef"]["name"] == settings
    assert template["env"][1]["valueFrom"]["secretKeyRef"]["name"] == keys
    assert template["image"] == "registry.example:5000/web:2.0"
    assert web["spec"]["replicas"] == 5
    assert web["metadata"] == {"name": "prod-web-eu", "namespace": "shop", "labels": {"stage": "prod"}}
    assert template["metadata"]["labels"] == {"stage": "prod"}


def test_a_generated_name_follows_its_content() -> None:
    def name(value: str) -> str:
        text = f"configMapGenerator: [{{name: settings, literals: [LEVEL={value}]}}]\n"
        return load({"kustomization.yaml": text}).documents[0].name

    assert name("info") == name("info") != name("debug")


def test_generated_objects_take_files_and_environments() -> None:
    found = load(
        {
            "kustomization.yaml": """
                generatorOptions: {disableNameSuffixHash: true}
                configMapGenerator: [{name: c, files: [app.ini, other=deep/x.bin], envs: [vars.env]}]
                """,
            "app.ini": "a=1\n",
            "deep/x.bin": b"\xff\x00",
            "vars.env": "# comment\nA=1\nB=two words\n",
        }
    )

    config = objects(found)["ConfigMap/c"]
    assert config["data"] == {"app.ini": "a=1\n", "A": "1", "B": "two words"}
    assert config["binaryData"] == {"other": "/wA="}


def test_patches_of_both_kinds() -> None:
    found = load(
        overlay(
            """
            resources: [../base]
            patches:
              - patch: |
                  apiVersion: plum.dev/v1
                  kind: Deployment
                  metadata: {name: web}
                  spec: {template: {env: [{name: MODE, value: real}, {name: MORE, value: x}, {name: TOKEN, $patch: delete}]}}
              - path: six.yaml
                target: {kind: Deployment, name: "w.*"}
            """,
            **{"prod/six.yaml": '[{"op": "replace", "path": "/spec/replicas", "value": 3}]'},
        ),
        start="prod",
    )

    spec = objects(found)["Deployment/web"]["spec"]
    assert spec["template"]["env"] == [{"name": "MODE", "value": "real"}, {"name": "MORE", "value": "x"}]
    assert spec["replicas"] == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("resources: [../base]\nhelmCharts: []\n", "prod/kustomization.yaml:2: helmCharts is not supported"),
        ("resources: [../nowhere]\n", "prod/kustomization.yaml:1: resources[0]: ../nowhere does not exist"),
        ("resources: [../../outside]\n", "leads out of the source"),
        ("resources: ['https://example.org/x']\n", "is elsewhere"),
        ("resources: [../base]\npatches: [{patch: '{kind: X, metadata: {name: y}}'}]\n", "there is no X y to patch"),
        ("resources: [../prod]\n", "in a circle"),
        ("resources: [../base]\nreplicas: [{name: nobody, count: 1}]\n", "no object nobody has spec.replicas"),
    ],
)
def test_what_an_overlay_cannot_do_is_told_with_its_line(text: str, said: str) -> None:
    assert any(said in problem for problem in problems(load(overlay(text), start="prod")))


def test_json_patches_follow_the_standard() -> None:
    value = {"a": [1, 2], "b/c": {"d": 1}}

    assert apply_json(value, [{"op": "add", "path": "/a/-", "value": 3}])["a"] == [1, 2, 3]
    assert apply_json(value, [{"op": "remove", "path": "/b~1c/d"}])["b/c"] == {}
    assert apply_json(value, [{"op": "move", "from": "/a/0", "path": "/e"}]) == {"a": [2], "b/c": {"d": 1}, "e": 1}
    assert apply_json(value, [{"op": "copy", "from": "/a", "path": "/f"}])["f"] == [1, 2]
    with pytest.raises(PatchError, match="test of /a/0 failed"):
        apply_json(value, [{"op": "test", "path": "/a/0", "value": 9}])
    with pytest.raises(PatchError, match="/x does not exist"):
        apply_json(value, [{"op": "replace", "path": "/x", "value": 9}])
    assert value == {"a": [1, 2], "b/c": {"d": 1}}


def test_strategic_merges_delete_replace_and_merge_by_name() -> None:
    assert merge({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"c": None}, "e": [1]}) == {"a": 1, "b": {"d": 2}, "e": [1]}
    assert merge({"l": [{"name": "x", "v": 1}]}, {"l": [{"$patch": "replace"}, {"name": "y"}]}) == {"l": [{"name": "y"}]}
    assert merge({"m": {"a": 1}}, {"m": {"$patch": "replace", "b": 2}}) == {"m": {"b": 2}}


def test_variables_are_put_into_scalars_only() -> None:
    text = """
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: "${NAME}", annotations: {count: "${COUNT}"}}
    data:
      shell: $${HOME} and ${GREETING:-hello world}
      evil: ${EVIL}
    spec: {replicas: ${COUNT}}
    """

    found = load({"a.yaml": text.replace("spec: {replicas: ${COUNT}}", "spec:\n      replicas: ${COUNT}")},
                 variables={"NAME": "n", "COUNT": "3", "EVIL": "x\nkind: Secret"})  # fmt: skip

    data = objects(found)["ConfigMap/n"]
    assert data["metadata"]["annotations"]["count"] == "3"
    assert data["spec"]["replicas"] == 3
    assert data["data"] == {"shell": "${HOME} and hello world", "evil": "x\nkind: Secret"}


def test_a_variable_without_value_is_told_with_its_line_and_can_be_switched_off() -> None:
    text = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: "${NO}"}\n'

    assert problems(load({"a.yaml": text}, variables={}))[0].startswith("a.yaml:4: ${NO} has no value")
    assert objects(load({"a.yaml": text}))["ConfigMap/a"]["data"] == {"x": "${NO}"}
    marked = text.replace("{name: a}", "{name: a, annotations: {plum.dev/substitute: disabled}}")
    assert objects(load({"a.yaml": marked}, variables={}))["ConfigMap/a"]["data"] == {"x": "${NO}"}


def test_files_and_values_encrypted_with_age_are_opened() -> None:
    identity = pyrage.x25519.Identity.generate()
    recipient = identity.to_public()
    secret = b"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {token: geheim}\n"
    armored = pyrage.encrypt(b"wert", [recipient], armored=True).decode()
    indented = "\n".join(f"    {line}" for line in armored.splitlines())
    values = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: b}}\nstringData:\n  token: |\n{indented}\n"
    files: dict[str, str | bytes] = {"a.yaml.age": pyrage.encrypt(secret, [recipient]), "b.yaml": values.encode()}

    found = load(files, identities=f"# key\n{identity}\n")

    by_name = objects(found)
    assert by_name["Secret/a"]["data"] == {"token": "Z2VoZWlt"}
    assert by_name["Secret/b"]["data"] == {"token": "d2VydA=="}
    assert "names no identity" in problems(load(files))[0]
    other = pyrage.x25519.Identity.generate()
    assert all("cannot be decrypted" in text for text in problems(load(files, identities=str(other))))


def test_only_changed_files_are_parsed_again() -> None:
    loader = Loader()
    first = loader.load(Tree({f"{n}.yaml": DEPLOYMENT.replace("web", f"web{n}").encode() for n in range(3)}), Options())

    changed = {f"{n}.yaml": DEPLOYMENT.replace("web", f"web{n}").encode() for n in range(3)}
    changed["1.yaml"] = changed["1.yaml"].replace(b"replicas: 1", b"replicas: 2")
    second = loader.load(Tree(changed), Options())

    assert [a is b for a, b in zip(first.documents, second.documents, strict=True)] == [True, False, True]
    assert first.documents[1].hash != second.documents[1].hash
