"""Uploads wheels to an index that others run, and proves that it serves what was sent.

First all wheels are looked at and compared with what the index has; where one of them is refused,
nothing is sent. A file is done once its bytes have been read back: whoever runs it again after a
failure sends what lacks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from repack.errors import FetchError, InputError, shown_url
from repack.fetch.http import Client
from repack.index.changes import ADDED, THERE, done
from repack.index.offers import offers_of
from repack.index.publishing import Published
from repack.index.remote import Remote, find
from repack.index.sending import Sender, account_of, form_of
from repack.plan import check_size, megabytes
from repack.record import read_records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from repack.console import Progress
    from repack.index.remote import Link
    from repack.index.sending import Account
    from repack.index.values import Done, Offer
    from repack.record import Cargo


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The index as it was named: where to upload, and where pip installs from, if that is known."""

    repository_url: str | None = None
    repository: str | None = None
    index_url: str | None = None
    config_file: Path | None = None
    allow_startup_hook: bool = False
    max_size: int | None = None


def upload(
    dist: Path, target: Target, progress: Progress, client: Client | None = None
) -> Published:
    """Upload the wheels of `dist` that the index has not; each is read back and compared."""
    client = Client() if client is None else client
    account = account_of(target.repository_url, target.repository, target.config_file)
    offers = offers_of(
        dist,
        time="",
        allow_startup_hook=target.allow_startup_hook,
        max_size=None,
        progress=progress,
    )
    cargo = _cargo(dist)
    for offer in offers:
        name = offer.file.filename
        check_size(name, offer.file.size, target.max_size, cargo.get(name, ()))
    forms = {offer.file.filename: form_of(offer.content) for offer in offers}
    remote = _remote(account, target, client, progress)
    missing = _missing(offers, remote)
    sender = Sender(
        account=account,
        client=client,
        progress=progress,
        hint_too_large={
            offer.file.filename: _too_large(offer, cargo.get(offer.file.filename, ()))
            for offer in offers
        },
    )
    for offer in missing:
        taken = sender.send(offer.content, forms[offer.file.filename], offer.file.size)
        _prove(offer, remote, taken=taken)
    files = [
        done(offer.project, offer.file, ADDED if offer in missing else THERE) for offer in offers
    ]
    return Published(place=shown_url(remote.url), files=_in_order(files))


def _remote(account: Account, target: Target, client: Client, progress: Progress) -> Remote:
    """Return the reading side; name, password and certificates go where uploads go alone."""
    where = target.index_url or account.url
    ask = Remote(
        url=where if where.endswith("/") else f"{where}/",
        client=client,
        progress=progress,
        login=account.login,
        cacert=account.cacert,
        client_cert=account.client_cert,
        trusted=(account.url,),
    )
    return ask if target.index_url else find(account.url, ask)


def _missing(offers: Sequence[Offer], remote: Remote) -> list[Offer]:
    """Return the offers that the index has not; raises where it has one with other bytes."""
    pages = {name: remote.links(name) for name in sorted({offer.project for offer in offers})}
    missing, wrong = [], []
    for offer in offers:
        link = pages[offer.project].get(offer.file.filename)
        if link is None:
            missing.append(offer)
        elif _there(link, offer, remote) != offer.file.sha256:
            wrong.append(offer)
    if wrong:
        names = ", ".join(offer.file.filename for offer in wrong)
        raise InputError(
            f"the index has other bytes under the name of {names}; nothing was sent",
            code="other-bytes",
            file=shown_url(remote.url),
            hint="build with another build.local: a file name stands for the same bytes for ever",
        )
    return missing


def _there(link: Link, offer: Offer, remote: Remote) -> str:
    """Return the SHA-256 of what is there: as the page says, or else by its bytes."""
    return link.sha256 or remote.sha256(link, offer.file.size)


def _prove(offer: Offer, remote: Remote, *, taken: bool) -> None:
    """Raise where the index does not serve what was sent."""
    name, sha256 = offer.file.filename, offer.file.sha256
    link = _listed(offer, remote)
    if link is None:
        raise FetchError(
            "the server took it, and the index does not list it"
            if taken
            else "the server says that it is there, and the index does not list it",
            code="not-listed",
            file=f"{name} at {shown_url(remote.url)}",
            hint="is publish.index-url of the same index? It may also take longer: run again",
        )
    served = remote.sha256(link, offer.file.size)
    for found, how in ((link.sha256 or sha256, "its page says"), (served, "it serves")):
        if found != sha256:
            raise FetchError(
                f"has SHA-256 {sha256}, {how} {found}",
                code="other-bytes",
                file=f"{name} at {shown_url(link.url)}",
                hint="let nobody install it: remove it there, and ask the index's keeper",
            )


def _listed(offer: Offer, remote: Remote) -> Link | None:
    """Return the file's link, waiting a while: some servers write their pages afterwards."""
    name, patience = offer.file.filename, remote.client.patience
    for pause in patience.pauses():
        if link := remote.links(offer.project).get(name):
            return link
        with remote.progress.task(f"Waiting for the index to list {name}", unit="steps"):
            patience.sleep(pause)
    return remote.links(offer.project).get(name)


def _cargo(dist: Path) -> Mapping[str, Sequence[Cargo]]:
    """Return what builds put into their wheels, by the wheel's name."""
    return {
        wheel.filename: record.carried
        for record in read_records(dist).values()
        for wheel in record.wheels
    }


def _too_large(offer: Offer, cargo: Sequence[Cargo]) -> str:
    """Return what to do where a server does not take a file of that size."""
    heaviest = sorted(cargo, key=lambda one: (-(one.packed or one.size), one.member))[:3]
    weights = ", ".join(
        f"{one.member.rpartition('/')[2]} {megabytes(one.packed or one.size)}" for one in heaviest
    )
    most = f"; most of it is {weights}" if weights else ""
    return (
        f"it has {megabytes(offer.file.size)}{most}: leave families out, or let the server take "
        "more, and set publish.max-size to its limit"
    )


def _in_order(files: Sequence[Done]) -> tuple[Done, ...]:
    return tuple(sorted(files, key=lambda each: (each.project, each.filename)))
