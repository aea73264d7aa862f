"""Who owns which field of an object: server-side apply and managedFields, as in Kubernetes.

    from plum_controller.resources.fields.typed import FieldSchema
    from plum_controller.resources.fields.tracking import track_update, restore_times
    from plum_controller.resources.fields.apply import apply, ApplyResult, ApplyConflict, ApplyError

    FieldSchema.from_openapi(openapi, has_status: bool) -> FieldSchema
    track_update(live: dict | None, new: dict, manager, api_version, subresource, now: str, schema: FieldSchema) -> None
    apply(live: dict | None, config: dict, manager, api_version, subresource, now: str, force: bool, schema) -> ApplyResult
    restore_times(live: dict, new: dict) -> bool

Pure functions on JSON values; `now` is RFC 3339 in seconds. The order of a write:

    update   prune, default, put back what the endpoint does not write, validate, `track_update`, `restore_times`
    apply    `apply`, then default (it drops the nulls that pruning leaves), put back, validate, `restore_times`

`restore_times` is true when nothing but times in managedFields changed: nothing is written then. The entries of a
result share their trees with other objects: encode them, never change them in place.
"""
