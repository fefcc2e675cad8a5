"""Measures of rates, shares and losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from testbed.analysis import fairness, goodput
from testbed.analysis.asked import Asked
from testbed.analysis.frames import Window, where, within
from testbed.metrics.wrong import wrong_elements

BIN_RTTS = 10

_FLOW = ("host", "peer", "qp")


def _rate(asked: Asked) -> float | None:
    if asked.get("plane") is None:
        if not asked.has_flows:
            return None
    elif not len(asked.chosen(asked.run.ev_samples)):
        return None
    return asked.run.mean_goodput_bps(asked.window, **asked.values)


def _of_bins(pick: str) -> Callable[[Asked], float | None]:
    """Of whole bins; of the window where it is shorter than one."""
    def ask(asked: Asked) -> float | None:
        if not asked.has_flows or asked.window.width_ns < 1:
            return None
        width_ns = min(BIN_RTTS * asked.run.base_rtt_ns, asked.window.width_ns)
        bins = asked.window.width_ns // width_ns
        window = Window(asked.window.start_ns, asked.window.start_ns + bins * width_ns)
        rows = where(goodput.acked(asked.run.flows, asked.run.ev_samples, 0, ()), **asked.values)
        rates = goodput.goodput_frame(rows, (), window, width_ns)["goodput_bps"]
        return float(getattr(rates, pick)())
    return ask


def _flow_share(pick: str) -> Callable[[Asked], float | None]:
    def ask(asked: Asked) -> float | None:
        found = asked.chosen(asked.run.fairness(asked.window))
        if not len(found) or not found["goodput_bps"].sum():
            return None
        rates = found["goodput_bps"]
        return float(getattr(rates, pick)() / rates.mean())
    return ask


def _slowest(asked: Asked) -> float | None:
    rates = asked.chosen(asked.run.fairness(asked.window))["goodput_bps"]
    return float(rates.min()) if len(rates) else None


def _fairness(asked: Asked) -> float | None:
    found = asked.chosen(asked.run.fairness(asked.window))
    return fairness.jain(found["goodput_bps"].to_numpy(dtype=float))


def _nominal(asked: Asked) -> float | None:
    """Line rate of the NICs that limit: the fewer of senders and receivers."""
    sent = asked.chosen(goodput.senders(asked.run.flows))
    nics = min(sent["host"].nunique(), sent["peer"].nunique())
    return nics * asked.run.topology.planes * asked.run.topology.port_rate_bps or None


def _lost(cause: str | None = None) -> Callable[[Asked], float | None]:
    def ask(asked: Asked) -> float | None:
        if not asked.has_flows:
            return None
        return float(len(where(asked.during(asked.run.losses), cause=cause)))
    return ask


def _resent_share(asked: Asked) -> float | None:
    sent = asked.sum_of(asked.run.flows, "sent_packets")
    return asked.sum_of(asked.run.flows, "resent_packets") / sent if sent else None


def _sent_packets(asked: Asked) -> float | None:
    return asked.sum_of(asked.run.flows, "sent_packets") if asked.has_flows else None


def _timeouts(asked: Asked) -> float | None:
    if not asked.has_flows:
        return None
    by_timer = where(asked.during(asked.run.losses), cause="timer")
    return float(len(by_timer.drop_duplicates(["t_ns", "host", "peer", "qp"])))


def _lost_per_qp(share: int) -> Callable[[Asked], float | None]:
    """The most a queue pair lost in the first of ``share`` parts of the window."""
    def ask(asked: Asked) -> float | None:
        if not asked.has_flows:
            return None
        window = asked.window
        first = Window(window.start_ns, window.start_ns + window.width_ns // share)
        found = within(asked.chosen(asked.run.losses), first)
        return float(found.groupby(list(_FLOW)).size().max()) if len(found) else 0.0
    return ask


def _qp_failures(asked: Asked) -> float | None:
    """In the window and, where it ends with the run, whatever failed of what it left under way.

    A retry budget is longer than most runs: a queue pair whose packets are lost for good tells
    so when nothing is posted any more.
    """
    if not len(asked.run.flows):
        return None
    found = where(asked.chosen(asked.run.events), kind="qp")
    if asked.window.end_ns >= asked.run.end_ns:
        return float((found["t_ns"] > asked.window.start_ns).sum())
    return float(len(within(found, asked.window)))


def _wrong_elements(asked: Asked) -> float | None:
    wrong = wrong_elements(asked.run.result)
    return None if wrong is None else float(wrong)


MEASURES: Mapping[str, tuple[str, str, tuple[str, ...], Callable[[Asked], float | None]]] = {
    "goodput": ("bit/s", "mean payload rate in the window", (*_FLOW, "plane"), _rate),
    "goodput_low": ("bit/s", "the worst 10 base RTT of the window", _FLOW, _of_bins("min")),
    "goodput_median": ("bit/s", "the median of the window in pieces of 10 base RTT", _FLOW,
                       _of_bins("median")),
    "nominal": ("bit/s", "line rate of the NICs that limit: planes x port rate of the fewer of "
                "senders and receivers", ("host", "peer"), _nominal),
    "flow_share_min": ("", "the slowest pair of hosts, of the mean of all", ("host", "peer"),
                       _flow_share("min")),
    "flow_share_max": ("", "the fastest pair of hosts, of the mean of all", ("host", "peer"),
                       _flow_share("max")),
    "flow_goodput_min": ("bit/s", "mean payload rate of the slowest pair of hosts",
                         ("host", "peer"), _slowest),
    "fairness": ("", "Jain's index over pairs of hosts, 1 is even", ("host", "peer"), _fairness),
    "sent_packets": ("", "data packets sent, again or for the first time", _FLOW, _sent_packets),
    "lost_packets": ("", "packets taken for lost, however found", (*_FLOW, "plane", "ev"),
                     _lost()),
    "lost_by_nack": ("", "packets a NACK asked for again", (*_FLOW, "plane", "ev"),
                     _lost("nack")),
    "lost_by_evidence": ("", "packets SACKs showed to be missing", (*_FLOW, "plane", "ev"),
                         _lost("evidence")),
    "lost_by_timer": ("", "packets given up by a timer", (*_FLOW, "plane", "ev"),
                      _lost("timer")),
    "resent_share": ("", "packets sent again, of all sent", _FLOW, _resent_share),
    "timeouts": ("", "times a retry timer of a queue pair ran out", _FLOW, _timeouts),
    "lost_per_qp": ("", "the most packets one queue pair lost", _FLOW, _lost_per_qp(1)),
    "first_interval_losses_per_qp": ("", "the most packets one queue pair lost in the first "
                                     "tenth of the window", _FLOW, _lost_per_qp(10)),
    "qp_failures": ("", "queue pairs that failed; to the end of a run belongs what it left under "
                    "way", ("host",), _qp_failures),
    "wrong_elements": ("", "elements, or bytes of plain writes, found wrong in the whole run", (),
                       _wrong_elements),
}
