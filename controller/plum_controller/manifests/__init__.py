"""From the files of a source to the objects they describe, each with file and line.

    Tree -> files or overlay -> (decrypt, substitute, parse) -> Document(data, manifest, hash)   or problems, all of them

Nothing here talks to a server. Every part is loaded with the first Sync that needs it.
"""
