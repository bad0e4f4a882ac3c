"""The authority's folder, and every change of it in an order that a kill or a full disk may end anywhere.

| file | what | mode |
|---|---|---|
| `root.key` | the root's private key, encrypted; may be taken away, and should | 0600 |
| `root.crt` | the root's certificate: `ca.crt` of every home | 0644 |
| `issuing.key` | the issuing authority's private key, encrypted | 0600 |
| `issuing.crt` | its certificate, signed by the root | 0644 |
| `issuing.key.next` | the key of its next certificate, while `ca renew --issuing` runs | 0600 |
| `register.json` | every certificate that was issued, and what was revoked (`node/admission/register.py`) | 0644 |
| `ca.crl` | the revocation list, with the certificate of the key that signed it | 0644 |
| `lock` | empty; locked by the command that uses the folder | 0600 |

The register is written before what it speaks of: a certificate that left is in it, a list has a number that it knows.
What is in it and never left does no harm. The issuing authority's key and certificate change in two steps:
`issuing.crt` decides, and the key beside it that it is of is the key. Each file takes its predecessor's place whole.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from consensus.cryptography import address_of
from consensus.identifiers import Digest, PublicKey
from ledger.side_files import locked, sync_directory, write_whole
from node.admission import register as registers
from node.admission.authority import Authority, certify_issuing, make_root, network_of, present
from node.admission.chain import Role, read_chain, require_issuing
from node.admission.endpoint import Endpoint
from node.admission.identity import certificate_key, load_chain, load_private_key, load_root, write_private
from node.admission.meter_claim import MeterClaim
from node.admission.passphrase import encrypted
from node.admission.register import Issued, IssuedToHome, Reason, Register, Revoked, issued_of, read_register
from node.admission.request import Request
from node.admission.revocations import load_revocations
from node.errors import IdentityError, RevocationsRefused
from node.home.bounded_file import FileTooLargeError, read_bounded
from node.names.rules import require_name

ROOT_KEY_NAME: Final = "root.key"
ROOT_CERTIFICATE_NAME: Final = "root.crt"
ISSUING_KEY_NAME: Final = "issuing.key"
NEXT_ISSUING_KEY_NAME: Final = "issuing.key.next"
ISSUING_CERTIFICATE_NAME: Final = "issuing.crt"
REGISTER_NAME: Final = "register.json"
LIST_NAME: Final = "ca.crl"


class Order(NamedTuple):
    """A certificate that is wanted."""

    name: str
    node_key: PublicKey
    endpoint: Endpoint | None
    meter: MeterClaim | None = None
    role: Role = Role.MEMBER
    person: Digest | None = None
    """Tag of who lives there; None: as before under this name, or a new one."""


@dataclass(frozen=True, slots=True)
class AuthorityFolder:
    """The authority in a folder; whoever changes it holds its lock (`open_authority`)."""

    directory: Path

    @property
    def root_key(self) -> Path:
        """The root's private key, unless it was taken away."""
        return self.directory / ROOT_KEY_NAME

    @property
    def revocation_list(self) -> Path:
        """The revocation list."""
        return self.directory / LIST_NAME

    def root(self) -> x509.Certificate:
        """Returns the root's certificate.

        Raises:
            IdentityError: it is missing, damaged, or none.
        """
        return load_root(self.directory / ROOT_CERTIFICATE_NAME)

    def issuing(self) -> x509.Certificate:
        """Returns the issuing authority's certificate.

        Raises:
            IdentityError: it is missing or damaged, or the root did not sign it.
        """
        path = self.directory / ISSUING_CERTIFICATE_NAME
        issuing, root = load_chain(path)[0], self.root()
        try:
            require_issuing(issuing, root)
        except IdentityError as error:
            raise IdentityError(f"{path}: {error}") from None
        return issuing

    def register(self) -> Register:
        """Returns the register.

        Raises:
            IdentityError: it is missing or damaged.
        """
        path = self.directory / REGISTER_NAME
        try:
            return read_register(read_bounded(path, size_bytes_max=registers.SIZE_BYTES_MAX))
        except OSError as error:
            raise IdentityError(f"{path} cannot be read: {error.strerror}") from None
        except FileTooLargeError as error:
            raise IdentityError(f"{path} {error}, which no register is") from None
        except IdentityError as error:
            raise IdentityError(f"{path} {error}") from None

    def open(self, passphrase: bytes) -> Authority:
        """Returns the authority, ready to issue; ends a renewal of the issuing authority that was interrupted.

        Raises:
            IdentityError: a file is missing or damaged, they do not belong together, or the passphrase is another.
        """
        root, issuing = self.root(), self.issuing()
        return Authority.of(self._issuing_key(issuing, passphrase), issuing, root)

    def _issuing_key(self, issuing: x509.Certificate, passphrase: bytes) -> Ed25519PrivateKey:
        path, following = self.directory / ISSUING_KEY_NAME, self.directory / NEXT_ISSUING_KEY_NAME
        wanted = certificate_key(issuing)
        if self._is_next_key_of(issuing, passphrase):
            self._rename(following, path)
        key = load_private_key(path, passphrase=passphrase)
        if key.public_key().public_bytes_raw() != wanted:
            raise IdentityError(
                f"{path}: is not the key of {self.directory / ISSUING_CERTIFICATE_NAME}: put it back, or make "
                "another (p2pnode ca renew --issuing, which needs the root's key)"
            )
        return key

    def _is_next_key_of(self, issuing: x509.Certificate, passphrase: bytes) -> bool:
        """Says whether a renewal was interrupted when the certificate was in place and its key was not yet."""
        with suppress(IdentityError):  # there is none, or it was not written to its end
            key = load_private_key(self.directory / NEXT_ISSUING_KEY_NAME, passphrase=passphrase)
            return key.public_key().public_bytes_raw() == certificate_key(issuing)
        return False

    def is_list_behind(self, register: Register) -> bool:
        """Says whether `ca.crl` lacks what the register says, as after a kill before it was written."""
        try:
            return load_revocations(self.revocation_list, self.root()).number != register.list_number
        except RevocationsRefused:
            return True

    # --- changes -----------------------------------------------------------------------------------------------

    def issue(
        self, authority: Authority, orders: Sequence[Order], *, now: datetime, validity: timedelta
    ) -> list[bytes]:
        """Returns the chains that were asked for in PEM form, once the register has them all.

        Raises:
            IdentityError: one is refused, or the register cannot be written: nothing was changed then.
        """
        register = self.register()
        for order in orders:
            require_name(order.name)
            register.require_free(order.name, order.node_key)
        orders = [order._replace(person=order.person or register.person_of(order.name)) for order in orders]
        chains = [_chain(authority, order, now=now, validity=validity) for order in orders]
        issued = [_issued_to(order, chain) for order, chain in zip(orders, chains, strict=True)]
        self._write_register(register.with_certificates(issued))
        return chains

    def revoke(self, authority: Authority, serials: Sequence[str], reason: Reason, *, now: datetime) -> None:
        """Notes in the register that certificates are revoked, then writes the revocation list that says so.

        Raises:
            IdentityError: a file cannot be written; once the register has them, `sign_list` writes the list.
        """
        register = self.register().with_revoked(serials, Revoked(at=now, reason=reason))
        self._write_list(authority, register, now=now)

    def sign_list(self, authority: Authority, *, now: datetime) -> None:
        """Writes the revocation list anew.

        Raises:
            IdentityError: it cannot be written.
        """
        self._write_list(authority, self.register(), now=now)

    def _write_list(self, authority: Authority, register: Register, *, now: datetime) -> None:
        """Writes a register and its list under the next number: no two lists ever have the same one."""
        numbered = register.with_next_list()
        made = authority.revocation_list(numbered.revocations, number=numbered.list_number, now=now)
        self._write_register(numbered)
        self._write(LIST_NAME, made)

    def renew_issuing(self, root_key: Ed25519PrivateKey, passphrase: bytes, *, now: datetime) -> Authority:
        """Makes a new key and certificate of the issuing authority, and signs the revocation list with it.

        Raises:
            IdentityError: it is not the root's key, the root ends too early, or a file cannot be written.
        """
        root, register = self.root(), self.register()
        if root_key.public_key().public_bytes_raw() != certificate_key(root):
            raise IdentityError(f"the key is not that of {self.directory / ROOT_CERTIFICATE_NAME}")
        key, issuing = certify_issuing(root_key, root, now)
        following = self.directory / NEXT_ISSUING_KEY_NAME
        if self._is_next_key_of(self.issuing(), passphrase):
            self._rename(following, self.directory / ISSUING_KEY_NAME)
        with suppress(FileNotFoundError):
            following.unlink()
        write_private(following, encrypted(key, passphrase))  # its name is synced with the register's
        self._write_register(register.with_issuing(issued_of(issuing)))
        self._write(ISSUING_CERTIFICATE_NAME, issuing.public_bytes(Encoding.PEM))
        self._rename(following, self.directory / ISSUING_KEY_NAME)
        authority = Authority.of(key, issuing, root)
        self.sign_list(authority, now=now)
        return authority

    def _write_register(self, register: Register) -> None:
        self._write(REGISTER_NAME, registers.render_register(register))

    def _write(self, name: str, content: bytes) -> None:
        path = self.directory / name
        try:
            write_whole(path, content)
        except OSError as error:
            raise IdentityError(f"{path} cannot be written: {error.strerror}") from None

    def _rename(self, old: Path, new: Path) -> None:
        try:
            old.replace(new)
            sync_directory(self.directory)
        except OSError as error:
            raise IdentityError(f"{new} cannot be written: {error.strerror}") from None


@contextmanager
def open_authority(directory: Path) -> Iterator[AuthorityFolder]:
    """Keeps every other command out of an authority's folder for a `with` block.

    Raises:
        IdentityError: there is none.
        LedgerBusy: another command uses it.
    """
    folder = AuthorityFolder(directory)
    if not (directory / REGISTER_NAME).exists():
        raise IdentityError(f"{directory}: there is no authority; `p2pnode ca init` makes one")
    with locked(directory):
        yield folder


def require_new_authority(directory: Path, network: str) -> None:
    """Says before anything is made that an authority's folder can be.

    Raises:
        IdentityError: something is there, the folder around it is not, or the network's name cannot be.
    """
    require_name(network, field="network")
    if directory.is_symlink() or directory.exists():
        raise IdentityError(f"{directory}: is there already, and is not changed")
    if not directory.absolute().parent.is_dir():
        raise IdentityError(f"{directory}: there is no folder {directory.absolute().parent}")


def create_authority(directory: Path, network: str, passphrase: bytes, *, now: datetime | None = None) -> None:
    """Makes a new authority's folder, completely or not at all.

    Raises:
        IdentityError: the folder is there, or cannot be made.
    """
    require_new_authority(directory, network)
    parent = directory.absolute().parent
    try:
        partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", suffix=".partial", dir=parent))  # mode 0700
    except OSError as error:
        raise IdentityError(f"{directory} cannot be made: {error.strerror}") from None
    try:
        _fill(AuthorityFolder(partial), network, passphrase, present() if now is None else now)
        partial.rename(directory)
        sync_directory(parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise IdentityError(f"{directory} cannot be made: {error.strerror}") from None
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _fill(folder: AuthorityFolder, network: str, passphrase: bytes, now: datetime) -> None:
    root_key, root = make_root(network, now)
    key, issuing = certify_issuing(root_key, root, now)
    write_private(folder.root_key, encrypted(root_key, passphrase))
    write_private(folder.directory / ISSUING_KEY_NAME, encrypted(key, passphrase))
    for name, certificate in ((ROOT_CERTIFICATE_NAME, root), (ISSUING_CERTIFICATE_NAME, issuing)):
        write_whole(folder.directory / name, certificate.public_bytes(Encoding.PEM))
    empty = Register(network=network_of(root), list_number=0, issuing=(issued_of(issuing),), certificates=())
    write_whole(folder.directory / REGISTER_NAME, registers.render_register(empty))
    folder.sign_list(Authority.of(key, issuing, root), now=now)


def _chain(authority: Authority, order: Order, *, now: datetime, validity: timedelta) -> bytes:
    """Returns a chain; one without an endpoint is where the home was before."""
    key, role = order.node_key, order.role
    meter, person = order.meter, order.person
    if order.endpoint is None:
        return authority.issue(key, meter=meter, person=person, now=now, validity=validity, role=role)
    host, port = order.endpoint
    return authority.issue(
        key, host=host, port=port, meter=meter, person=person, now=now, validity=validity, role=role
    )


def _issued_to(order: Order, chain: bytes) -> IssuedToHome:
    certificate, issuing = read_chain(chain)
    return IssuedToHome(
        **issued_of(certificate).model_dump(),
        name=order.name,
        address=address_of(order.node_key).hex(),
        node_key=order.node_key.hex(),
        role=order.role,
        endpoint=None if order.endpoint is None else order.endpoint.uri,
        meter=None if order.meter is None else order.meter.uri,
        person=None if order.person is None else order.person.hex(),
        issued_by=registers.serial_of(issuing),
    )


def order_of(request: Request, role: Role = Role.MEMBER) -> Order:
    """Returns what a request asks for."""
    return Order(request.name, request.node_key, request.endpoint, request.meter, role)


def orders_of(certificates: Sequence[IssuedToHome]) -> list[Order]:
    """Returns how the same would be wanted again."""
    return [Order(one.name, one.public_key, one.place, one.claim, one.role, one.tag) for one in certificates]


def earlier_issuing(register: Register, issuing: x509.Certificate) -> list[Issued]:
    """Returns the issuing authority's certificates before the present one that are not revoked."""
    serial = registers.serial_of(issuing)
    return [one for one in register.issuing if one.serial != serial and one.revoked is None]
