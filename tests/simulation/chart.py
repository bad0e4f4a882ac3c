"""Draws a run, or a part of it, as a message sequence chart: one HTML file with one SVG picture, nothing fetched.

Time runs downward, each process has a line. An arrow is a message from its sending to its arrival; a lost one ends
in a cross halfway. STATUS and requests are left out unless asked for, or one would see nothing else.
"""

from collections import Counter
from dataclasses import dataclass
from html import escape
from typing import Final

from consensus.messages import Decided, HeightAnswer, HeightQuestion, Status, ViewChange
from node.mesh.messages import Blocks, BlocksRequest
from tests.simulation.host import TAU_MS, Host
from tests.simulation.network import START_MS, Network, Payload

COLORS: Final = {
    "PrePrepare": "#0b5fa5",
    "Prepare": "#2a9d4b",
    "Commit": "#b8860b",
    "ViewChange": "#b3261e",
    "Decided": "#6a3d9a",
    "Status": "#9aa0a6",
    "BodyRequest": "#00838f",
    "Body": "#00838f",
    "Gathered": "#5d4037",
    "CertificateRequest": "#00838f",
    "HeightQuestion": "#c2185b",
    "HeightAnswer": "#c2185b",
    "BlocksRequest": "#795548",
    "Blocks": "#795548",
    "requests": "#9aa0a6",
}
QUIET_KINDS: Final = frozenset({"Status", "requests"})
COLUMN_PX: Final = 190
LEFT_PX: Final = 120
RIGHT_PX: Final = 230
"""Room for the labels of the last process."""
NAMES_EVERY_PX: Final = 1_200
"""The names again, for who has scrolled."""
TOP_PX: Final = 70
ROW_PX: Final = 18
"""Height of the shortest stretch of time in which something happens; longer ones are squeezed."""
GAP_PX_MAX: Final = 60
LABEL_PX: Final = 11
ARROWS_MAX: Final = 3_000
"""More cannot be read; the chart says how many it left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """One message."""

    sent_ms: int
    arrival_ms: int | None
    sender: int
    recipient: int
    kind: str
    height: int | None
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that happened to one process."""

    at_ms: int
    host: int
    text: str


class Recorder:
    """Keeps what happens between two moments, of one height or all."""

    def __init__(
        self, *, first_ms: int = 0, last_ms: int = 2**62, height: int | None = None, with_quiet: bool = False
    ) -> None:
        self.arrows: list[Arrow] = []
        self.marks: list[Mark] = []
        self.left_out = 0
        self.network: Network | None = None
        """Of what is recorded; None until something happens."""
        self._moments_ms = range(first_ms, last_ms)
        self._height = height
        self._with_quiet = with_quiet

    def on_message(
        self, *, sent_ms: int, arrival_ms: int | None, sender: Host, recipient: Host, payload: Payload
    ) -> None:
        self.network = sender.network
        kind = "requests" if isinstance(payload, tuple) else type(payload).__name__
        height = _height_of(payload)
        is_wanted = self._height is None or height == self._height
        if not is_wanted or sent_ms not in self._moments_ms or (kind in QUIET_KINDS and not self._with_quiet):
            return
        if len(self.arrows) >= ARROWS_MAX:
            self.left_out += 1
            return
        self.arrows.append(
            Arrow(
                sent_ms=sent_ms,
                arrival_ms=arrival_ms,
                sender=sender.index,
                recipient=recipient.index,
                kind=kind,
                height=height,
                label=_label(payload, kind, with_height=self._height is None),
            )
        )

    def on_note(self, at_ms: int, host: Host, text: str) -> None:
        self.network = host.network
        if at_ms in self._moments_ms and text not in {"Proposed", "Validated"}:
            self.marks.append(Mark(at_ms=at_ms, host=host.index, text=text))


def _height_of(payload: Payload) -> int | None:
    if isinstance(payload, tuple | Status | HeightQuestion | HeightAnswer):
        return None
    if isinstance(payload, BlocksRequest | Blocks):
        return payload.first
    return payload.certificate.height if isinstance(payload, Decided) else payload.height


def _label(payload: Payload, kind: str, *, with_height: bool) -> str:
    if isinstance(payload, tuple):
        return f"{len(payload)} requests"
    name = "".join(f"-{letter}" if letter.isupper() else letter for letter in kind).strip("-").upper()
    if isinstance(payload, HeightQuestion | HeightAnswer):
        return name
    if isinstance(payload, BlocksRequest | Blocks):
        count = payload.count if isinstance(payload, BlocksRequest) else len(payload.blocks)
        return f"{name}({count} from h {payload.first})"
    if isinstance(payload, Status):
        return f"{name}(height {payload.undecided}, slot {payload.clock_slot})"
    claim = getattr(payload, "claim", None)
    block = getattr(payload, "block", None) or getattr(claim, "block", None)
    slot = getattr(payload, "slot", None)
    parts = [f"h {_height_of(payload)}"] if with_height else []
    parts += [] if slot is None else [f"slot {slot}"]
    parts += [] if block is None else [("claims " if claim else "") + block.hex()[:6]]
    parts += ["claims none"] if kind == "ViewChange" and claim is None else []
    return f"{name}({', '.join(parts)})"


class FirstViewChange:
    """Finds the lowest height of a VIEW-CHANGE: what most want to see."""

    def __init__(self) -> None:
        self.height: int | None = None

    def on_message(
        self, *, sent_ms: int, arrival_ms: int | None, sender: Host, recipient: Host, payload: Payload
    ) -> None:
        if isinstance(payload, ViewChange) and sender.is_honest:
            self.height = min(payload.height, self.height or payload.height)

    def on_note(self, at_ms: int, host: Host, text: str) -> None:
        """Nothing to find."""


class Chart:
    """The picture of what a recorder kept."""

    def __init__(self, recorder: Recorder) -> None:
        assert recorder.network is not None, "nothing happened"
        self._recorder = recorder
        self._hosts = recorder.network.hosts
        self._faults = recorder.network.faults
        first, last = self._span()
        self._marks = [mark for mark in recorder.marks if first <= mark.at_ms <= last]
        self._rows = self._place(first)

    def _span(self) -> tuple[int, int]:
        moments = [arrow.sent_ms for arrow in self._recorder.arrows]
        moments += [arrow.arrival_ms for arrow in self._recorder.arrows if arrow.arrival_ms is not None]
        moments = moments or [mark.at_ms for mark in self._recorder.marks] or [START_MS]
        return min(moments), max(moments)

    def _place(self, first: int) -> dict[int, float]:
        """Gives each moment a height in the picture: long silences are squeezed."""
        moments = {first, *(mark.at_ms for mark in self._marks)}
        for arrow in self._recorder.arrows:
            moments |= {arrow.sent_ms, arrow.sent_ms if arrow.arrival_ms is None else arrow.arrival_ms}
        rows: dict[int, float] = {}
        y, previous = float(TOP_PX + ROW_PX), first
        for moment in sorted(moments):
            y += min(GAP_PX_MAX, (moment - previous) * ROW_PX / 4)
            rows[moment] = y
            previous = moment
        return rows

    # --- drawing ------------------------------------------------------------------------------------------------

    def html(self, title: str, facts: str) -> str:
        width = LEFT_PX + COLUMN_PX * len(self._hosts) + RIGHT_PX
        bottom = max(self._rows.values(), default=TOP_PX) + 2 * ROW_PX
        body = "\n".join([*self._lifelines(bottom), *self._slots(width), *self._drawn_arrows(), *self._drawn_marks()])
        left_out = f" {self._recorder.left_out:,} more messages are left out." if self._recorder.left_out else ""
        return _PAGE.format(
            title=escape(title),
            facts=escape(facts + left_out),
            legend=self._legend(),
            width=width,
            height=int(bottom),
            body=body,
        )

    def _legend(self) -> str:
        counted = Counter(arrow.kind for arrow in self._recorder.arrows)
        lost = sum(arrow.arrival_ms is None for arrow in self._recorder.arrows)
        shown = [
            f'<span style="color:{COLORS[kind]}">&#9632; {kind} &times; {counted[kind]:,}</span>'
            for kind in COLORS
            if counted[kind]
        ]
        return " ".join([*shown, f"<span>&times; lost: {lost:,}</span>"])

    def _x(self, host: int) -> float:
        return LEFT_PX + COLUMN_PX * (host + 0.5)

    def _lifelines(self, bottom: float) -> list[str]:
        drawn = []
        for host in self._hosts:
            x = self._x(host.index)
            role = "" if host.role is None else host.role.value.replace("_", " ")
            number = next(number for number, key in enumerate(host.network.keys) if key is host.key)
            drawn += [
                f'<line class="life" x1="{x}" y1="{TOP_PX}" x2="{x}" y2="{bottom:.0f}"/>',
                f'<text class="name" x="{x}" y="{TOP_PX - 40}">member {number}</text>',
                f'<text class="role" x="{x}" y="{TOP_PX - 22}">{escape(role)}</text>',
            ]
            drawn += [
                f'<line class="down" x1="{x}" y1="{first:.1f}" x2="{x}" y2="{last:.1f}"/>'
                for first, last in self._times_down(host.index, bottom)
            ]
            drawn += [
                f'<text class="again" x="{x}" y="{y}">member {number}</text>'
                for y in range(TOP_PX + NAMES_EVERY_PX, int(bottom), NAMES_EVERY_PX)
            ]
        return drawn

    def _times_down(self, host: int, bottom: float) -> list[tuple[float, float]]:
        """Where in the picture no process runs: from a crash to the next start."""
        times, down_y = [], None
        for mark in self._recorder.marks:
            if mark.host == host and mark.text in {"crash", "start"}:
                y = self._y(mark.at_ms, bottom)
                if down_y is not None and down_y < y:
                    times.append((down_y, y))
                down_y = y if mark.text == "crash" else None
        return times if down_y is None or down_y >= bottom else [*times, (down_y, bottom)]

    def _y(self, moment_ms: int, bottom: float) -> float:
        """The height of a moment that may lie outside of the picture."""
        if moment_ms in self._rows:
            return self._rows[moment_ms]
        return TOP_PX if moment_ms < min(self._rows) else bottom

    def _slots(self, width: float) -> list[str]:
        """A line where a slot begins, as a clock without faults tells it."""
        drawn, shown = [], None
        for moment, y in self._rows.items():
            slot = moment // TAU_MS
            if slot != shown:
                shown = slot
                kind = "slot" if moment < self._faults.until_ms else "slot calm"
                drawn.append(f'<line class="{kind}" x1="{LEFT_PX - 20}" y1="{y:.1f}" x2="{width}" y2="{y:.1f}"/>')
                drawn.append(f'<text class="time" x="8" y="{y + 4:.1f}">slot {slot}, {moment / 1000:.2f} s</text>')
        return drawn

    def _drawn_arrows(self) -> list[str]:
        drawn = []
        for arrow in self._recorder.arrows:
            color = COLORS[arrow.kind]
            x1, y1, x2 = self._x(arrow.sender), self._rows[arrow.sent_ms], self._x(arrow.recipient)
            title = f"<title>{escape(arrow.label)} from {arrow.sender} to {arrow.recipient}</title>"
            if arrow.arrival_ms is None:
                x2 = (x1 + x2) / 2
                drawn.append(
                    f'<g stroke="{color}">{title}<line class="lost" x1="{x1}" y1="{y1:.1f}" x2="{x2}" y2="{y1:.1f}"/>'
                    f'<path d="M{x2 - 4} {y1 - 4:.1f}l8 8m-8 0l8 -8"/></g>'
                )
                continue
            y2 = self._rows[arrow.arrival_ms]
            tip = 7 if x2 < x1 else -7
            drawn.append(
                f'<g stroke="{color}" fill="{color}">{title}<line x1="{x1}" y1="{y1:.1f}" x2="{x2}" y2="{y2:.1f}"/>'
                f'<path d="M{x2} {y2:.1f}l{tip} -4v8z"/></g>'
            )
        return drawn + self._labels()

    def _labels(self) -> list[str]:
        """One label per message and moment, beside its sender's line."""
        drawn: list[str] = []
        used: set[tuple[int, int, str]] = set()
        above: Counter[tuple[int, int]] = Counter()
        for arrow in self._recorder.arrows:
            if (arrow.sent_ms, arrow.sender, arrow.label) in used:
                continue
            used.add((arrow.sent_ms, arrow.sender, arrow.label))
            place = (arrow.sent_ms, arrow.sender)
            x, y = self._x(arrow.sender) + 5, self._rows[arrow.sent_ms] - 3 - LABEL_PX * above[place]
            above[place] += 1
            color, label = COLORS[arrow.kind], escape(arrow.label)
            drawn.append(f'<text class="what" fill="{color}" x="{x}" y="{y:.1f}">{label}</text>')
        return drawn

    def _drawn_marks(self) -> list[str]:
        drawn = []
        for mark in self._marks:
            x, y = self._x(mark.host), self._rows[mark.at_ms]
            kind = mark.text.split(" ", maxsplit=1)[0]
            drawn.append(f'<circle class="mark {kind}" cx="{x}" cy="{y:.1f}" r="5"/>')
            drawn.append(f'<text class="note {kind}" x="{x - 9}" y="{y + 4:.1f}">{escape(mark.text)}</text>')
        return drawn


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 14px system-ui, sans-serif; margin: 24px; color: #202124; background: #fff; }}
h1 {{ font-size: 20px; margin: 0 0 6px; }} p {{ margin: 4px 0; max-width: 1100px; }} p span {{ margin-right: 14px; }}
svg {{ font: 11px system-ui, sans-serif; }} svg line, svg path {{ stroke-width: 1.2; }}
svg .life {{ stroke: #5f6368; stroke-width: 1.6; }}
svg .down {{ stroke: #fff; stroke-width: 3; stroke-dasharray: 3 5; }}
.slot {{ stroke: #dadce0; }} .calm {{ stroke: #b7dfc3; }}
.lost {{ stroke-dasharray: 4 3; }} .time {{ fill: #5f6368; }} .name {{ font-weight: 600; font-size: 13px; }}
.name, .role {{ text-anchor: middle; }} .role {{ fill: #b3261e; }} .note {{ text-anchor: end; }}
.again {{ text-anchor: middle; fill: #5f6368; }}
.what, .note, .again {{ paint-order: stroke; stroke: #fff; stroke-width: 3px; }}
.mark {{ fill: #fff; stroke: #202124; }} .mark.crash {{ fill: #b3261e; }} .mark.decided {{ fill: #2a9d4b; }}
.note.crash {{ fill: #b3261e; }} .note.decided {{ fill: #1b7a38; font-weight: 600; }}
</style></head><body>
<h1>{title}</h1><p>{facts}</p><p>{legend}</p>
<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
{body}
</svg></body></html>
"""
