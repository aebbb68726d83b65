"""Whom a certificate speaks for. That it was signed by the right authority is the transport's to check."""

from __future__ import annotations

import re
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rune.api.fields import LABEL
from rune.core.call import Certificate

URI: Final = "rune://subject/"
"""A URI among the alternative names that begins so goes before the common name."""


def subject_of(certificate: x509.Certificate) -> Certificate | None:
    """Its subject: the name in the one `rune://subject/NAME` among its URIs, else its one common name.

    None for a certificate that is not for clients, and for a name that no subject can have: a server's
    certificate of the same authority must not be anybody's credential.
    """
    name = _uri(certificate)
    if name is None:
        commons = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        name = str(commons[0].value) if len(commons) == 1 else ""
    if not _is_for_clients(certificate) or not re.fullmatch(LABEL, name):
        return None
    return Certificate(
        subject=name,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        expires_at=certificate.not_valid_after_utc,
    )


def public_bytes(key: Any) -> bytes:  # noqa: ANN401 - public keys have no common type that says so
    """A public key's encoding, by which two of them are compared."""
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _uri(certificate: x509.Certificate) -> str | None:
    """The name in the URIs; empty when several disagree, None when none is ours."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    ours = {uri.removeprefix(URI) for uri in uris if uri.startswith(URI)}
    if not ours:
        return None
    return ours.pop() if len(ours) == 1 else ""


def _is_for_clients(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.CLIENT_AUTH in usage
