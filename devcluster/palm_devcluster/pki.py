"""The cluster's certificate authority, certificates and keys."""

import base64
import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from palm_devcluster.paths import write_private

NODE_NAME = "palm-node"
_LIFETIME = datetime.timedelta(days=365)
_RENEW_BEFORE = datetime.timedelta(days=7)
_BACKDATED = datetime.timedelta(days=1)  # clocks of virtual machines step
_SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
_SERVER_ADDRESSES = ("127.0.0.1", "10.0.0.1")


@dataclass(frozen=True)
class _Identity:
    """Whom one certificate speaks for."""

    file: str
    common_name: str
    organization: str = ""
    serves: bool = False
    calls: bool = True


_IDENTITIES = (
    _Identity("apiserver", "kube-apiserver", serves=True, calls=False),
    # etcd's gateway calls etcd with etcd's own serving certificate.
    _Identity("etcd", "etcd", serves=True),
    _Identity("etcd-client", "kube-apiserver-etcd-client"),
    _Identity("admin", "palm-devcluster-admin", "system:masters"),
    _Identity("kube-controller-manager", "system:kube-controller-manager"),
    _Identity("kube-scheduler", "system:kube-scheduler"),
    _Identity("kubelet-client", "kube-apiserver-kubelet-client"),
    _Identity("node", f"system:node:{NODE_NAME}", "system:nodes"),
    # Webhooks serve with these three; the API server takes their callers for the ServiceAccounts.
    _Identity("kserve", "system:serviceaccount:kserve:kserve-controller-manager", serves=True),
    _Identity("kueue", "system:serviceaccount:kueue-system:kueue-controller-manager", serves=True),
    _Identity(
        "jobset", "system:serviceaccount:jobset-system:jobset-controller-manager", serves=True
    ),
    _Identity("node-serving", f"system:node:{NODE_NAME}", "system:nodes", serves=True, calls=False),
)


@dataclass(frozen=True)
class Pki:
    """Files below one folder; certificates end in .crt, keys in .key."""

    folder: Path

    @property
    def ca(self) -> Path:
        """The authority's certificate."""
        return self.folder / "ca.crt"

    @property
    def ca_bundle(self) -> str:
        """The authority's certificate as webhook configurations take it: PEM in base64."""
        return base64.b64encode(self.ca.read_bytes()).decode()

    def certificate(self, name: str) -> Path:
        """Return a certificate's file."""
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        """Return a key's file."""
        return self.folder / f"{name}.key"

    @property
    def service_account_key(self) -> Path:
        """The private key that signs ServiceAccount tokens."""
        return self.folder / "service-account.key"

    @property
    def service_account_public_key(self) -> Path:
        """The public key that checks ServiceAccount tokens."""
        return self.folder / "service-account.pub"


def ensure_pki(folder: Path) -> Pki:
    """Return the folder's PKI, made where it is missing and renewed before it expires."""
    pki = Pki(folder)
    files = [pki.ca, *(pki.certificate(identity.file) for identity in _IDENTITIES)]
    if not all(_is_valid(file) for file in files):
        _issue_all(pki)
    if not (pki.service_account_key.is_file() and pki.service_account_public_key.is_file()):
        _make_service_account_keys(pki)
    return pki


def _is_valid(file: Path) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    now = datetime.datetime.now(datetime.UTC)
    key = file.with_suffix(".key")
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return key.is_file() and begin <= now < end - _RENEW_BEFORE


def _issue_all(pki: Pki) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "palm-devcluster-ca")])
    usage = _usage(signs=True)
    authority = (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(_subject_key(key), critical=False)
        .sign(key, hashes.SHA256())
    )
    _save(pki, "ca", authority, key)
    for identity in _IDENTITIES:
        _issue(pki, identity, authority, key)


def _issue(
    pki: Pki,
    identity: _Identity,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_subject(identity), authority.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(_purposes(identity), critical=False)
        .add_extension(_authority_key(authority_key), critical=False)
    )
    if identity.serves:
        builder = builder.add_extension(_server_names(), critical=False)
    _save(pki, identity.file, builder.sign(authority_key, hashes.SHA256()), key)


def _subject(identity: _Identity) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, identity.common_name)]
    if identity.organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, identity.organization))
    return x509.Name(attributes)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFETIME)
    )


def _purposes(identity: _Identity) -> x509.ExtendedKeyUsage:
    purposes = []
    if identity.serves:
        purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
    if identity.calls:
        purposes.append(ExtendedKeyUsageOID.CLIENT_AUTH)
    return x509.ExtendedKeyUsage(purposes)


def _server_names() -> x509.SubjectAlternativeName:
    addresses = [x509.IPAddress(ipaddress.ip_address(text)) for text in _SERVER_ADDRESSES]
    names = [x509.DNSName(text) for text in (*_SERVER_NAMES, NODE_NAME)]
    return x509.SubjectAlternativeName([*names, *addresses])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _subject_key(key: ec.EllipticCurvePrivateKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key())


def _authority_key(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _save(
    pki: Pki, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    write_private(pki.key(name), _private_pem(key))
    write_private(pki.certificate(name), certificate.public_bytes(serialization.Encoding.PEM))


def _make_service_account_keys(pki: Pki) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write_private(pki.service_account_key, _private_pem(key))
    write_private(pki.service_account_public_key, public)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
