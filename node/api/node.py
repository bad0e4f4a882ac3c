"""Handlers about the node itself: status, health, metrics and the API's own documentation."""

import asyncio
from typing import Final

from aiohttp import web

from consensus.identifiers import Address, Height
from contracts.rule_records import Rules
from contracts.state import RULES_KEY, Totals
from contracts.state_reading import conserved, read_totals, require, sum_tokens
from ledger.ledger import Ledger
from node.api.context import ApiContext, answer
from node.api.docs_page import DOCS_PAGE
from node.api.problem import ProblemError
from node.chain.block_sync import SyncProgress
from node.household.agent import AgentProgress
from node.metrics.counters import METRICS_CONTENT_TYPE, CommitLatency
from node.replies.node import (
    CommitLatencyStatus,
    FillingStatus,
    HealthReply,
    MeterStatus,
    ReadyReply,
    SilentStatus,
    StatusReply,
    SyncingStatus,
    TakingStateStatus,
    TotalsStatus,
)
from node.replies.parameters import NoParameters
from node.replies.problem import ProblemReason
from node.replies.views import record_fields
from node.snapshots.filling import FillingProgress
from node.stories.members import own_notice

DOCS_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy of the page: nothing from anywhere else."""


async def show_status(context: ApiContext, _: NoParameters, __: web.Request) -> web.Response:
    """Answers with where the node stands."""
    return answer(status_of(context))


def status_of(context: ApiContext) -> StatusReply:
    """Returns where the node stands at this moment."""
    node, chain, ledger = context.node, context.chain, context.chain.ledger
    replica = node.replica.status()
    totals = read_totals(ledger)
    recovery = node.recovery_status()
    return StatusReply(
        name=node.name,
        address=node.address.hex(),
        chain=ledger.chain.hex(),
        protocol_version=require(ledger, RULES_KEY, Rules).version,
        rules_notice=node.rules_notice(node.names()),
        height=ledger.height,
        first_height=ledger.first_height,
        tip=ledger.tip.hex(),
        state_root=ledger.state_root.hex(),
        slot=replica.present_slot,
        phase=replica.phase,
        undecided_height=replica.undecided_height,
        leader=replica.leader.hex(),
        view_changes=replica.view_changes,
        peers_connected=len(reachable_members(ledger, node.replica.connected(), node.address) - {node.address}),
        members=len(ledger.membership()),
        mempool_transactions=len(chain.mempool),
        commit_latency_ms=_latency_view(node.metrics.commit_latency()),
        meter=_meter_view(node.meter_progress()),
        totals=_totals_view(totals),
        conserved=conserved(totals, sum_tokens(ledger, ledger.genesis)),
        syncing=_syncing_view(recovery.syncing),
        sync_notice=recovery.sync_notice,
        taking_state=_taking_view(recovery.taking),
        filling_in=_filling_view(recovery.filling),
        silent=SilentStatus(through=replica.silent_through) if replica.is_silent else None,
        ledger_set_aside=recovery.ledger_set_aside,
    )


def _latency_view(latency: CommitLatency) -> CommitLatencyStatus:
    return CommitLatencyStatus(p50=latency.p50_ms, p95=latency.p95_ms, count=latency.count)


def _meter_view(found: AgentProgress | None) -> MeterStatus | None:
    if found is None:
        return None
    return MeterStatus(
        household_id=found.household_id,
        intervals_total=found.hours.total,
        intervals_published=found.hours.published,
        intervals_settled=found.hours.settled,
        finished=found.hours.is_finished,
    )


def _syncing_view(progress: SyncProgress | None) -> SyncingStatus | None:
    if progress is None:
        return None
    return SyncingStatus(first=progress.first, to=progress.target, blocks_per_s=progress.blocks_per_s)


def _taking_view(taking: tuple[Height | None, float] | None) -> TakingStateStatus | None:
    if taking is None:
        return None
    height, share = taking
    return TakingStateStatus(height=height, percent=round(100 * share, 1))


def _filling_view(progress: FillingProgress | None) -> FillingStatus | None:
    if progress is None:
        return None
    return FillingStatus(height=progress.height, to=progress.target, notice=progress.notice)


def _totals_view(totals: Totals) -> TotalsStatus:
    return TotalsStatus.model_validate(record_fields(totals))


async def show_health(context: ApiContext, _: NoParameters, __: web.Request) -> web.Response:
    """Answers 200 while the node takes part."""
    reason = context.node.halted()
    if reason is not None:
        raise ProblemError(ProblemReason.HALTED, reason)
    ledger, slot = context.chain.ledger, context.node.replica.status().present_slot
    notices = (
        context.node.rules_notice(context.node.names()),
        own_notice(ledger, ledger.genesis, context.node.address, slot),
    )
    return answer(HealthReply(status="ok", notices=[one for one in notices if one is not None]))


async def show_readiness(context: ApiContext, _: NoParameters, __: web.Request) -> web.Response:
    """Answers 200 while enough members are connected for a quorum."""
    reason = context.node.halted()
    if reason is not None:
        raise ProblemError(ProblemReason.HALTED, reason)
    quorum = context.chain.ledger.membership().quorum
    reachable = len(reachable_members(context.chain.ledger, context.node.replica.connected(), context.node.address))
    if reachable < quorum:
        detail = f"{reachable} members reachable, this node among them; a decision needs {quorum}"
        raise ProblemError(ProblemReason.NOT_READY, detail, retry_after_s=1)
    return answer(ReadyReply(status="ready", members_reachable=reachable, quorum=quorum))


def reachable_members(ledger: Ledger, connected: frozenset[Address], own: Address) -> frozenset[Address]:
    """Returns the members that this node reaches: its connected peers and itself."""
    return (connected | {own}) & frozenset(ledger.membership().addresses)


async def show_metrics(context: ApiContext, _: NoParameters, __: web.Request) -> web.Response:
    """Answers with every metric in Prometheus' text format."""
    body = context.node.metrics.render()
    return web.Response(body=body, headers={"Content-Type": METRICS_CONTENT_TYPE})


async def show_openapi(context: ApiContext, _: NoParameters, __: web.Request) -> web.Response:
    """Answers with the OpenAPI document."""
    if context.openapi is None:
        context.openapi = asyncio.create_task(context.make_openapi(), name="openapi")
    body = await asyncio.shield(context.openapi)  # who goes away meanwhile ends it for nobody else
    return web.Response(body=body, content_type="application/json")


async def show_docs(_: ApiContext, __: NoParameters, ___: web.Request) -> web.Response:
    """Answers with a page that renders the OpenAPI document."""
    headers = {"Content-Security-Policy": DOCS_POLICY, "X-Content-Type-Options": "nosniff"}
    return web.Response(text=DOCS_PAGE, content_type="text/html", headers=headers)
