"""Where manifests come from: a folder, a Git repository, an offline bundle. Each gives a `Revision`, a name and a tree of files.

    open_source(spec, ...) -> Source.fetch() -> Revision(name, tree)      or SourceError, in words

Libraries are loaded by the source that needs them, when it is fetched first. Fetching runs in threads, not in the event loop.
"""
