"""What a kind's objects may look like: a structural schema compiled into functions, and strict decoding of bodies.

    from plum_controller.resources.schema.compiler import CompiledSchema
    from plum_controller.resources.schema.structural import check_structural
    from plum_controller.resources.schema.strict import decode_json

    schema = CompiledSchema(openapi)          # a version's openAPIV3Schema
    schema.prune(obj) -> list[str]            # unknown paths it removed, in place: ["spec.a", "spec.env[0].zz"]
    schema.default(obj) -> None               # in place; nulls of fields that are not nullable go
    schema.validate(obj) -> list[Cause]       # Kubernetes' texts; empty for a valid object
    check_structural(openapi) -> list[Cause]  # fields relative to it
    decode_json(body: bytes, report_duplicates: bool) -> tuple[Any, list[str]]   # 'duplicate field "spec.image"'

In this order: prune, default, validate. Nothing here is imported from `fields`, which imports the schema of metadata.
"""
