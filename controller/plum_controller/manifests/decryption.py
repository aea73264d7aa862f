"""Manifests encrypted with age: whole files (`web.yaml.age`) and single values of Secrets in age's armour.

What was decrypted exists in memory only: it is never logged, never shown in a plan, never written to disk.
"""

from __future__ import annotations

from typing import Any

ARMOR = "-----BEGIN AGE ENCRYPTED FILE-----"
MAGIC = b"age-encryption.org/"
SUFFIX = ".age"


class DecryptionError(ValueError):
    """Something that cannot be opened. The message says what is missing, and nothing of the content."""


class Decryptor:
    """Opens what was encrypted for one of its identities. Loads the library when it is used first."""

    def __init__(self, identities: str) -> None:
        """`identities` is the text of an age key file. Raises `DecryptionError`."""
        self._texts = [line.strip() for line in identities.splitlines() if line.strip() and not line.strip().startswith("#")]
        for number, text in enumerate(self._texts, 1):
            if not text.startswith("AGE-SECRET-KEY-"):
                raise DecryptionError(f"line {number} of the age identities is no AGE-SECRET-KEY-...")
        self._identities: list[Any] | None = None

    def decrypt(self, value: bytes) -> bytes:
        """The content, of binary or armoured text. Raises `DecryptionError`."""
        import pyrage

        if not self._texts:
            raise DecryptionError("is encrypted with age, and spec.decryption names no identity")
        try:
            if self._identities is None:
                self._identities = [pyrage.x25519.Identity.from_str(text) for text in self._texts]
            return bytes(pyrage.decrypt(value, self._identities))
        except pyrage.IdentityError as error:
            raise DecryptionError("an age identity of spec.decryption cannot be read") from error
        except pyrage.DecryptError as error:
            raise DecryptionError(f"cannot be decrypted with the identities of spec.decryption: {error}") from error


def is_encrypted(value: bytes) -> bool:
    """Whether this is an age file."""
    return value.startswith(MAGIC) or value.lstrip().startswith(ARMOR.encode())


def open_values(data: dict[str, Any], decryptor: Decryptor) -> dict[str, Any]:
    """A Secret with its armoured values opened. Raises `DecryptionError` that names the value."""
    if data.get("kind") != "Secret" or not isinstance(data.get("stringData"), dict):
        return data
    opened = dict(data["stringData"])
    for key, value in opened.items():
        if isinstance(value, str) and value.lstrip().startswith(ARMOR):
            try:
                opened[key] = decryptor.decrypt(value.strip().encode() + b"\n").decode()
            except UnicodeDecodeError as error:
                raise DecryptionError(f"stringData.{key} holds bytes that are no text when decrypted") from error
            except DecryptionError as error:
                raise DecryptionError(f"stringData.{key} {error}") from error
    return {**data, "stringData": opened}
