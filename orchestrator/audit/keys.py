"""The key that signs checkpoints, and the public ones that prove them (Ed25519)."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from orchestrator._parsing import key_bytes
from orchestrator.secrets import FOLDER, Secret, audit_key, known_audit_key
from orchestrator.settings import Settings

PUBLIC: Final = "audit-key.pub"
"""The public key beside the private one, for those who are to verify elsewhere."""


class KeyFileError(ValueError):
    """A file holds no key of this kind; the text names it."""


class PublicKey:
    def __init__(self, raw: bytes) -> None:
        """`raw`: the 32 bytes of the key."""
        self._key = Ed25519PublicKey.from_public_bytes(raw)
        self.key_id = sha256(raw).hexdigest()[:16]

    @classmethod
    def read(cls, path: Path) -> PublicKey:
        """Raises `KeyFileError`, OSError."""
        data = path.read_bytes()
        try:
            if b"-----BEGIN" in data:
                return cls.of_pem(data.decode("ascii"))
            return cls(key_bytes(data.decode("ascii").strip()))
        except ValueError:
            raise KeyFileError(f"{path} holds no Ed25519 public key: PEM, hex digits or base64 is expected") from None

    @classmethod
    def of_pem(cls, text: str) -> PublicKey:
        """Raises ValueError."""
        key = load_pem_public_key(text.encode("ascii"))
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("it is a key of another kind")
        return cls(key.public_bytes(Encoding.Raw, PublicFormat.Raw))

    def pem(self) -> str:
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def proves(self, signature: bytes, statement: bytes) -> bool:
        try:
            self._key.verify(signature, statement)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """Shows nothing of itself."""

    def __init__(self, secret: Secret) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(key_bytes(secret.reveal()))
        self.public = PublicKey(self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def sign(self, statement: bytes) -> bytes:
        return self._key.sign(statement)


def signing_key(settings: Settings) -> SigningKey:
    """The key of these settings; made, and kept, where none is configured. Raises `SecretError`, `KeyFileError`,
    OSError."""
    secret = settings.audit_key
    if secret is not None:
        return SigningKey(secret)
    path = settings.data_dir / FOLDER
    try:
        key = SigningKey(audit_key(settings.data_dir))
    except ValueError as error:
        raise KeyFileError(f"{path / 'audit-key'} cannot be used: {error}") from None
    public = path / PUBLIC
    if not public.exists():
        public.touch(0o600)  # Like everything in this folder, though nothing of it is secret.
        public.write_text(key.public.pem(), "ascii")
    return key


def known_public_key(settings: Settings) -> PublicKey | None:
    """The public key of these settings, without making one."""
    secret = settings.audit_key or known_audit_key(settings.data_dir)
    return SigningKey(secret).public if secret is not None else None
