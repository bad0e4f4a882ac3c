"""How hosts and places are written, and what is none."""

import pytest

from node.home.hosts import is_host, split_place


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("meter.lan", "meter.lan", 7000),
        ("Meter.LAN:7001", "meter.lan", 7001),
        ("192.0.2.7", "192.0.2.7", 7000),
        ("192.0.2.7:1", "192.0.2.7", 1),
        ("2001:DB8::7", "2001:db8::7", 7000),
        ("::1", "::1", 7000),
        ("[::1]", "::1", 7000),
        ("[2001:db8::7]:65535", "2001:db8::7", 65_535),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.7", 7000),
    ],
)
def test_a_place_is_a_host_and_a_port_if_it_has_one(text: str, host: str, port: int) -> None:
    assert split_place(text, port=7000) == (host, port)


@pytest.mark.parametrize("text", ["0.0.0.0", "::", "[::]:7000", "", ":7000", "a b", "a/b", "x@y", "[meter.lan]:7000"])
def test_where_nobody_is_reached_is_no_place(text: str) -> None:
    with pytest.raises(ValueError, match="neither a name nor an address"):
        split_place(text, port=7000)


@pytest.mark.parametrize(
    "text", ["a:b:c", "[::1", "::1]", "[[::1]]", "[::1]7000", "fe80::1%eth0", "[fe80::1%eth0]:1"]
)
def test_an_address_that_is_none_is_no_place(text: str) -> None:
    with pytest.raises(ValueError, match="neither a name nor an address"):
        split_place(text, port=7000)


@pytest.mark.parametrize("port", ["", "0", "65536", "07000", "+7", "7_0", "x", "-1", " 7", "\u0667"])
def test_a_port_that_is_none_is_refused_with_its_bounds(port: str) -> None:
    for host in ("meter.lan", "[::1]"):
        with pytest.raises(ValueError, match="its port is none from 1 to 65535"):
            split_place(f"{host}:{port}", port=7000)


def test_hosts_are_written_in_one_way() -> None:
    assert all(map(is_host, ("meter.lan", "node_1", "192.0.2.7", "::1", "fe80::1")))
    assert not any(map(is_host, ("", "Meter", "fe80::1%eth0", "a b", "a" * 254, "[::1]", "straße", "a\n")))
