"""Sealed identities over the API: what is taken for which verifiers, what is refused, and what anybody may read."""

import asyncio
import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.identifiers import Digest
from contracts.applicants import Applicant
from contracts.state import applicant_key
from contracts.state_reading import read
from node.admission.joining.files import JoinIdentity
from node.admission.joining.sealing import SealedIdentity, panel_of, seal_identity
from node.api.context import BODY_SIZE_BYTES_MAX
from node.proofs.panel_file import check_panel
from node.proofs.signed_file import file_text
from node.replies.identities import IdentitiesReply, PanelFileReply
from tests.support.api import ApiHarness, running_api
from tests.support.joining import newcomer, request_of, verdict_on

SHOWN = JoinIdentity(salt=Digest(bytes(range(32))), identity="Ada Löwe\nSunny Street 5")
NEW = newcomer(1)
PATH = "/v1/identities"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiHarness]:
    """The API of a verifier, on whose chain a home asked to join."""
    async with running_api(tmp_path) as harness:
        asked = request_of(harness.community, NEW, identity=SHOWN.commitment)
        harness.builder.append([harness.builder.transaction(0, asked)])
        yield harness


def sealed(api: ApiHarness) -> SealedIdentity:
    panel = panel_of(api.ledger.chain, NEW.address, read(api.ledger, applicant_key(NEW.address), Applicant))
    assert panel is not None
    keys = [(key.address, key.public_key) for key in api.community.node_keys]
    return seal_identity(SHOWN, panel, keys)


async def brought(api: ApiHarness, body: Any) -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": "application/json"}
    async with api.client.post(PATH, data=BytesIO(json.dumps(body).encode()), headers=headers) as reply:
        text = await reply.text()
        assert "Sunny" not in text
        assert SHOWN.salt.hex() not in text
        return reply.status, await reply.json(content_type=None)


async def test_boxes_are_taken_and_the_nodes_own_is_kept_closed(api: ApiHarness) -> None:
    made = sealed(api)
    for _ in range(2):
        status, document = await brought(api, {"sealed": encode(made).hex()})
        assert status == 200
        (one,) = IdentitiesReply.model_validate(document).identities
        assert one.applicant == NEW.address.hex()
        assert one.box is not None
        assert bytes.fromhex(one.box.sealed) == made.boxes[0].sealed
        assert [brought.held for brought in one.deliveries] == [True, False, False, False]
        assert [brought.name for brought in one.deliveries] == ["home1", "home2", "home3", "home4"]
    api.builder.append([api.builder.transaction(verifier, verdict_on(NEW)) for verifier in range(3)])
    async with api.client.get(PATH) as reply:
        assert await reply.json() == {"identities": []}


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda made: replace(made, chain=Digest(bytes(32))), "chain: is 00"),
        (lambda made: replace(made, applicant=newcomer(2).address), "applicant: nobody verifies"),
        (lambda made: replace(made, panel=Digest(bytes(32))), "panel: others verify"),
        (lambda made: replace(made, boxes=(*made.boxes[:2], made.boxes[0])), "boxes: verifier"),
        (lambda made: replace(made, boxes=(replace(made.boxes[0], verifier=NEW.address),)), "is no verifier"),
        (lambda made: replace(made, boxes=(replace(made.boxes[0], sealed=b"\x00"),)), "wrong_type"),
        (lambda made: replace(made, boxes=3 * made.boxes), "wrong_type"),
    ],
)
async def test_what_is_not_for_the_verifiers_of_an_open_application_is_refused(
    api: ApiHarness, change: Any, detail: str
) -> None:
    status, document = await brought(api, {"sealed": encode(change(sealed(api))).hex()})
    assert (status, document["reason"]) == (422, "identity_refused")
    assert detail in document["detail"]
    async with api.client.get(PATH) as reply:
        assert await reply.json() == {"identities": []}


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({}, 400, "invalid_parameter"),
        ({"sealed": "0"}, 400, "invalid_parameter"),
        ({"sealed": "zz"}, 400, "invalid_parameter"),
        ({"sealed": 7}, 400, "invalid_parameter"),
        ({"sealed": "00", "more": 1}, 400, "invalid_parameter"),
        ({"sealed": "00" * 70_000}, 400, "invalid_parameter"),
        ({"sealed": "00" * (BODY_SIZE_BYTES_MAX // 2)}, 413, "body_too_large"),
        ({"sealed": ""}, 422, "identity_refused"),
        ({"sealed": "c0"}, 422, "identity_refused"),
    ],
)
async def test_a_bad_body_is_refused(api: ApiHarness, body: Any, status: int, reason: str) -> None:
    found, document = await brought(api, body)
    assert (found, document["reason"]) == (status, reason)
    assert len(document["detail"]) < 1_000


async def test_another_media_type_is_refused(api: ApiHarness) -> None:
    async with api.client.post(
        PATH, data=encode(sealed(api)), headers={"Content-Type": "application/msgpack"}
    ) as reply:
        assert (reply.status, (await reply.json(content_type=None))["reason"]) == (415, "unsupported_media_type")


async def test_a_thousand_of_them_change_nothing_but_the_last(api: ApiHarness) -> None:
    """However often one is brought, the verifiers are sent theirs when it is due."""
    body = {"sealed": encode(sealed(api)).hex()}
    for _ in range(10):
        await asyncio.gather(*(brought(api, body) for _ in range(10)))
    assert api.surroundings.brought == []
    api.surroundings.peers = frozenset(key.address for key in api.community.node_keys[1:])
    for _ in range(5):
        api.api.node.identities.look()
    assert len(api.surroundings.brought) == 3


async def test_the_panels_file_is_handed_out_by_any_member(api: ApiHarness) -> None:
    async with api.client.get(f"/v1/applications/{NEW.address.hex()}/panel") as reply:
        document = PanelFileReply.model_validate(await reply.json()).model_dump()
    proven = check_panel(file_text(document).encode(), api.community.genesis)
    assert proven.panel.verifiers == api.community.addresses
    async with api.client.get(f"/v1/applications/{newcomer(2).address.hex()}/panel") as reply:
        assert (reply.status, (await reply.json(content_type=None))["reason"]) == (404, "unknown_panel")
