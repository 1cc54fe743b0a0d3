"""Certificates for a trial: one authority, and a key pair for every KME and SAE.

For operation take those of your own authority: common name = the id, and a KME's id as a DNS name.
"""

import datetime
import os
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from quantum.errors import InputError

__all__ = ["issue"]

AUTHORITY = "authority"


def issue(folder: Path, names: Iterable[str], hosts: Iterable[str], days: int = 365) -> list[Path]:
    """Write ``NAME.pem`` and ``NAME.key`` for each name, and ``authority.pem``; returns the files.

    ``hosts`` are names under which KMEs are reached besides their ids. The authority's own key is
    kept in memory only: nobody can issue more in its name. Files that are there are never replaced.
    """
    names = sorted(set(names))
    if AUTHORITY in names or not names:
        raise InputError(f"certificates need names, and none is {AUTHORITY!r}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    root, signer = _authority(days)
    files = [_write(folder / f"{AUTHORITY}.pem", _pem(root), 0o644)]
    for name in names:
        secret = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.DNSName(text) for text in dict.fromkeys([name, *hosts])]
        made = (
            _begin(name, days)
            .issuer_name(root.subject)
            .public_key(secret.public_key())
            .add_extension(x509.SubjectAlternativeName(subject), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(secret.public_key()), critical=False
            )
            .sign(signer, hashes.SHA256())
        )
        plain = serialization.NoEncryption()
        key = secret.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain
        )
        files += [
            _write(folder / f"{name}.pem", _pem(made), 0o644),
            _write(folder / f"{name}.key", key, 0o600),
        ]
    return files


def _authority(days: int) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    secret = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    begun = _begin("DPEM trial authority", days)
    root = (
        begun.issuer_name(x509.Name([_common("DPEM trial authority")]))
        .public_key(secret.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(secret.public_key()), critical=False
        )
        .sign(secret, hashes.SHA256())
    )
    return root, secret


def _common(name: str) -> "x509.NameAttribute[str]":
    return x509.NameAttribute(NameOID.COMMON_NAME, name)


def _begin(name: str, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([_common(name)]))
        .serial_number(x509.random_serial_number())
        # Clocks of two machines differ a little.
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, data: bytes, mode: int) -> Path:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
    except OSError as wrong:
        raise InputError(f"cannot write {path}: {wrong.strerror}") from wrong
    return path
