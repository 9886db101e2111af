"""Questions to a name server on another stack: what is asked, what is believed, what the socket API makes of it."""
from __future__ import annotations

import errno
import socket as real

import dns.flags
import dns.message
import dns.rcode
import pytest

import netstack
import netstack.socket as ns
from netstack.resolver.cache import SECOND

SHORT = 3.0         # seconds for an answer that does not come; one that comes takes less, on a loaded machine too


def hosts(entries):
    return [entry[4][0] for entry in entries]


def lookup(net, name, *more, **keywords):
    return hosts(net.stack.getaddrinfo(name, 80, *more, type=ns.SOCK_STREAM, **keywords))


def refuses(net, number, name="www.test", *more, **keywords):
    with pytest.raises(real.gaierror) as caught:
        net.stack.getaddrinfo(name, 80, *more, **keywords)
    assert caught.value.errno == number


@pytest.fixture
def www(net):
    net.server.add("www.test", "A", "192.0.2.9", "203.0.113.1")
    net.server.add("www.test", "AAAA", "2001:db8::9")
    net.server.add("four.test", "A", "192.0.2.9")
    return net


def test_both_families_in_order(www):
    assert lookup(www, "www.test") == ["2001:db8::9", "192.0.2.9", "203.0.113.1"]
    assert sorted(www.server.questions) == [("www.test", "A", "udp"), ("www.test", "AAAA", "udp")]
    assert lookup(www, "www.test", ns.AF_INET) == ["192.0.2.9", "203.0.113.1"]
    assert len(www.stack.getaddrinfo("www.test", 80)) == 9
    assert len(www.server.questions) == 2           # the rest was remembered
    assert lookup(www, "WWW.test.") == lookup(www, "www.test")


def test_only_one_family_is_asked_for(www):
    assert lookup(www, "www.test", ns.AF_INET6) == ["2001:db8::9"]
    assert www.server.questions == [("www.test", "AAAA", "udp")]


def test_the_module_and_sockets(www):
    assert ns.gethostbyname("www.test") == "192.0.2.9"
    assert ns.gethostbyname_ex("www.test") == ("www.test", [], ["192.0.2.9", "203.0.113.1"])
    with www.other.create_server(("", 7)), pytest.raises(ConnectionRefusedError), ns.socket() as s:
        www.server.add("b.test", "A", www.pair.b4)
        s.connect(("b.test", 7))
        assert s.getpeername() == (www.pair.b4, 7)
        ns.create_connection(("b.test", 8))
    with ns.create_connection(("b.test", 53)) as s:
        assert s.getpeername()[0] == www.pair.b4


def test_aliases(net):
    net.server.add("alias.test", "CNAME", "other.test.")
    net.server.add("other.test", "CNAME", "real.test.")
    net.server.add("real.test", "A", "192.0.2.7")
    found = net.stack.getaddrinfo("alias.test", 80, flags=ns.AI_CANONNAME)
    assert found[0][3:] == ("real.test", ("192.0.2.7", 80))
    assert all(entry[3] == "" for entry in found[1:])
    assert ns.gethostbyname_ex("alias.test") == ("real.test", ["alias.test", "other.test"], ["192.0.2.7"])


def test_a_circle_of_aliases(net):
    net.server.add("a.test", "CNAME", "b.test.")
    net.server.add("b.test", "CNAME", "a.test.")
    refuses(net, ns.EAI_FAIL, "a.test")


def test_not_there(www):
    refuses(www, ns.EAI_NONAME, "nobody.test")
    refuses(www, ns.EAI_NODATA, "four.test", ns.AF_INET6)
    assert lookup(www, "four.test") == ["192.0.2.9"]
    asked = len(www.server.questions)
    refuses(www, ns.EAI_NONAME, "nobody.test")                      # RFC 2308: remembered, for 60 s
    refuses(www, ns.EAI_NONAME, "nobody.test", ns.AF_INET)
    refuses(www, ns.EAI_NODATA, "four.test", ns.AF_INET6)
    assert len(www.server.questions) == asked


def test_what_is_not_there_is_not_remembered_without_soa(net):
    def bare(server, query, transport):
        reply = dns.message.make_response(query)
        reply.set_rcode(dns.rcode.NXDOMAIN)
        return [reply]

    net.server.tricks["nobody.test"] = bare
    for count in (1, 2):
        refuses(net, ns.EAI_NONAME, "nobody.test", ns.AF_INET)
        assert len(net.server.questions) == count


def test_time_to_live(net):
    net.server.add("short.test", "A", "192.0.2.1", ttl=10)
    now = net.stack._now()
    net.resolver.cache._now = lambda: now
    for _ in range(2):
        lookup(net, "short.test", ns.AF_INET)
    assert len(net.server.questions) == 1
    now += 11 * SECOND
    lookup(net, "short.test", ns.AF_INET)
    assert len(net.server.questions) == 2


@pytest.mark.parametrize("name", ["x.invalid", "x.onion", b"a..b", b"...", b"x" * 64 + b".test", "", "x." * 130])
def test_names_that_nobody_is_asked_for(net, name):
    refuses(net, ns.EAI_NONAME, name)
    assert net.server.questions == []


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".test", "\x80" * 70])
def test_text_that_is_no_name(net, name):
    """CPython refuses it before anybody looks."""
    with pytest.raises(UnicodeError) as theirs:
        real.getaddrinfo(name, 80)
    with pytest.raises(type(theirs.value)):
        net.stack.getaddrinfo(name, 80)


def test_search_list(net):
    net.server.add("www.two.test", "A", "192.0.2.7")
    net.config.search = ["one.test", "two.test"]
    assert net.stack.getaddrinfo("www", 80, ns.AF_INET, flags=ns.AI_CANONNAME)[0][3] == "www.two.test"
    assert [name for name, _, _ in net.server.questions] == ["www.one.test", "www.two.test"]
    net.server.questions.clear()
    refuses(net, ns.EAI_NONAME, "www.", ns.AF_INET)
    assert net.server.questions == [("www", "A", "udp")]


def test_search_list_and_a_failure(net):
    """A domain whose server fails does not end the search, and makes "not there" uncertain."""
    net.server.tricks["www.one.test"] = lambda server, query, transport: [rcode(query, dns.rcode.SERVFAIL)]
    net.config.search = ["one.test", "two.test"]
    net.config.attempts = 1
    refuses(net, ns.EAI_AGAIN, "www", ns.AF_INET)
    net.server.add("www.two.test", "A", "192.0.2.7")
    net.resolver.cache.clear()
    assert lookup(net, "www", ns.AF_INET) == ["192.0.2.7"]


def rcode(query, code):
    reply = dns.message.make_response(query)
    reply.set_rcode(code)
    return reply


@pytest.mark.parametrize(("code", "number"), [
    (dns.rcode.SERVFAIL, ns.EAI_AGAIN), (dns.rcode.REFUSED, ns.EAI_AGAIN), (dns.rcode.FORMERR, ns.EAI_FAIL)])
def test_error_codes(net, code, number):
    net.server.tricks["*"] = lambda server, query, transport: [rcode(query, code)]
    net.config.attempts = 2
    refuses(net, number, "www.test", ns.AF_INET)
    assert len(net.server.questions) == 2 + 2 * (code == dns.rcode.FORMERR)     # those once more without EDNS0
    asked = len(net.server.questions)
    refuses(net, number, "www.test", ns.AF_INET)
    assert len(net.server.questions) > asked        # failures are not remembered


def test_truncated_then_tcp(www):
    def cut(server, query, transport):
        reply = server.answer(query)
        if transport == "udp":
            reply.flags |= dns.flags.TC
            reply.answer.clear()
        return [reply]

    www.server.tricks["www.test"] = cut
    assert lookup(www, "www.test") == ["2001:db8::9", "192.0.2.9", "203.0.113.1"]
    assert sorted(www.server.questions) == [("www.test", type, transport) for type in ("A", "AAAA")
                                            for transport in ("tcp", "udp")]


def test_always_tcp(www):
    www.config.tcp = True
    assert lookup(www, "four.test", ns.AF_INET) == ["192.0.2.9"]
    assert www.server.questions == [("four.test", "A", "tcp")]


def test_edns(www):
    lookup(www, "www.test", ns.AF_INET)
    assert (www.server.queries[0].edns, www.server.queries[0].payload) == (0, 1232)
    www.config.edns = 0
    lookup(www, "www.test", ns.AF_INET6)
    assert www.server.queries[1].edns == -1


@pytest.mark.parametrize("code", [dns.rcode.FORMERR, dns.rcode.NOTIMP])
def test_a_server_that_knows_no_edns(www, code):
    www.server.tricks["*"] = lambda server, query, transport: [
        server.answer(query) if query.edns < 0 else rcode(query, code)]
    assert lookup(www, "www.test", ns.AF_INET) == ["192.0.2.9", "203.0.113.1"]
    assert [query.edns for query in www.server.queries] == [0, -1]


def forged(query, **changes):
    """An answer with an address that nobody should believe."""
    reply = dns.message.make_response(query)
    reply.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "A", "198.51.100.66"))
    for name, value in changes.items():
        setattr(reply, name, value)
    return reply


FORGERIES = {
    "id": lambda q: [forged(q, id=q.id ^ 1)],
    "no answer": lambda q: [forged(q, flags=q.flags & ~dns.flags.QR)],
    "another name": lambda q: [forged(dns.message.make_query("other.test", "A", id=q.id))],
    "another type": lambda q: [forged(dns.message.make_query("four.test", "TXT", id=q.id))],
    "no question": lambda q: [forged(q, question=[])],
    "noise": lambda q: [b"", b"\0" * 11, q.to_wire()[:2] + b"\xff" * 40, forged(q).to_wire()[:-3]],
    "many": lambda q: [forged(q, id=(q.id + i) & 0xFFFF) for i in range(1, 50)],
}


@pytest.mark.parametrize("what", FORGERIES)
def test_forgeries_are_passed_over(www, what):
    www.server.tricks["four.test"] = lambda server, query, transport: [
        *FORGERIES[what](query), server.answer(query)]
    assert lookup(www, "four.test", ns.AF_INET) == ["192.0.2.9"]
    assert len(www.server.questions) == 1           # nor do they end the wait


def test_an_answer_from_elsewhere_is_not_heard(www):
    """Another port of the same host: the socket is connected, and the engine drops it."""
    with www.other.socket(ns.AF_INET, ns.SOCK_DGRAM) as elsewhere:
        def from_elsewhere(server, query, transport):
            elsewhere.sendto(forged(query).to_wire(), server.peers[-1])
            return [server.answer(query)]

        www.server.tricks["four.test"] = from_elsewhere
        assert lookup(www, "four.test", ns.AF_INET) == ["192.0.2.9"]


def test_ids_and_ports_are_random(www):
    for i in range(20):
        www.server.add(f"n{i}.test", "A", "192.0.2.1")
        lookup(www, f"n{i}.test", ns.AF_INET)
    ports = [port for _, port in www.server.peers]
    ids = [query.id for query in www.server.queries]
    assert len(set(ports)) > 15
    assert len(set(ids)) > 15
    assert len({ports[i + 1] - ports[i] for i in range(19)}) > 15


def test_letters_at_random(www):
    www.config.mixed_case = True
    long = "abcdefghijklmnopqrstuvwxyz.test"
    www.server.add(long, "A", "192.0.2.7")
    assert lookup(www, long, ns.AF_INET) == ["192.0.2.7"]
    asked = www.server.queries[0].question[0].name.to_text()
    assert asked != asked.lower()
    www.resolver.cache.clear()
    www.config.timeout = SHORT
    www.config.attempts = 1

    def small(server, query, transport):
        reply = server.answer(query)
        return [reply.to_wire().replace(query.question[0].name.to_wire(), query.question[0].name.to_wire().lower())]

    www.server.tricks["*"] = small
    refuses(www, ns.EAI_AGAIN, long, ns.AF_INET)


def test_the_next_server(net):
    net.server.add("www.test", "A", "192.0.2.7")
    net.config.timeout = SHORT
    net.config.serve(["192.0.2.77", f"{net.pair.b4}#54", net.pair.b4])       # nobody; no server there; the one
    assert lookup(net, "www.test", ns.AF_INET) == ["192.0.2.7"]
    net.config.serve([net.pair.b6, net.pair.b4])                            # over IPv6 nobody listens: at once
    net.config.timeout = 30
    net.resolver.cache.clear()
    assert lookup(net, "www.test", ns.AF_INET) == ["192.0.2.7"]


def test_rotation(net):
    net.config.rotate = True
    net.config.serve([f"{net.pair.b4}#54", net.pair.b4])
    net.server.add("www.test", "A", "192.0.2.7")
    seen = []
    net.config.serve([net.pair.b4, f"{net.pair.b4}#54"])
    for _ in range(4):
        asker = net.resolver.asker
        seen.append(asker.turn % 2)
        net.resolver.cache.clear()
        assert lookup(net, "www.test", ns.AF_INET) == ["192.0.2.7"]
    assert seen == [0, 1, 0, 1]


def test_one_type_is_never_answered(www):
    """What was found is used; if nothing was, it may be there all the same."""
    www.server.tricks["*"] = lambda server, query, transport: (
        [] if query.question[0].rdtype == 28 else [server.answer(query)])
    www.config.timeout = SHORT
    www.config.attempts = 1
    assert lookup(www, "four.test") == ["192.0.2.9"]
    www.server.add("six.test", "AAAA", "2001:db8::1")
    refuses(www, ns.EAI_AGAIN, "six.test")


def test_silence_on_a_virtual_clock(life, virtual_pair):
    stack, clock = virtual_pair.a, virtual_pair.clock
    stack.resolver.config.serve([virtual_pair.b4, "192.0.2.77"])
    sock = life.enter_context(virtual_pair.b.socket(type=ns.SOCK_DGRAM))
    sock.bind(("", 53))                             # takes questions, and says nothing
    start = clock.time()
    with pytest.raises(real.gaierror) as caught:
        stack.getaddrinfo("www.test", 80)
    assert caught.value.errno == ns.EAI_AGAIN
    assert 10 <= clock.time() - start <= 20.1       # two servers, two attempts, five seconds; nobody is at the second
    assert len({sock.recvfrom(1000)[1][1] for _ in range(4)}) == 2      # A and AAAA from one port, twice


def test_flags(www):
    assert lookup(www, "four.test", ns.AF_INET6, flags=ns.AI_V4MAPPED) == ["::ffff:192.0.2.9"]
    assert lookup(www, "www.test", ns.AF_INET6, flags=ns.AI_V4MAPPED) == ["2001:db8::9"]
    assert lookup(www, "www.test", ns.AF_INET6, flags=ns.AI_V4MAPPED | ns.AI_ALL) == [
        "2001:db8::9", "::ffff:192.0.2.9", "::ffff:203.0.113.1"]
    refuses(www, ns.EAI_NONAME, "www.test", flags=ns.AI_NUMERICHOST)
    asked = len(www.server.questions)
    for number, arguments in ((ns.EAI_SERVICE, ("x.test", "no-such-service")), (ns.EAI_FAMILY, ("x.test", 80, 77)),
                              (ns.EAI_SOCKTYPE, ("x.test", 80, 0, 77))):
        with pytest.raises(real.gaierror) as caught:
            www.stack.getaddrinfo(*arguments)
        assert caught.value.errno == number
    assert len(www.server.questions) == asked       # nobody was asked for those


def test_addrconfig(life, www):
    from netstack.drivers import Wire

    left, _ = Wire.pair()
    only4 = life.enter_context(netstack.Stack(nameservers=[www.pair.b4]))
    only4.attach(left, ip="198.51.100.1/24", dad=False)
    from netstack.resolver.functions import _families

    assert _families(only4, 0, ns.AI_ADDRCONFIG) == (ns.AF_INET,)
    assert _families(www.stack, 0, ns.AI_ADDRCONFIG) == (ns.AF_INET6, ns.AF_INET)
    assert _families(only4, 0, 0) == (ns.AF_INET6, ns.AF_INET)
    with pytest.raises(real.gaierror) as caught:
        only4.getaddrinfo("www.test", 80, ns.AF_INET6, flags=ns.AI_ADDRCONFIG)
    assert caught.value.errno == ns.EAI_NONAME


def test_reverse(net):
    net.server.add("9.2.0.192.in-addr.arpa", "PTR", "www.test.", "web.test.")
    net.server.add("9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "PTR", "six.home.test.")
    name, aliases, addresses = ns.gethostbyaddr("192.0.2.9")
    assert ({name, *aliases}, addresses) == ({"www.test", "web.test"}, ["192.0.2.9"])       # in any order
    assert ns.gethostbyaddr("2001:db8::9") == ("six.home.test", [], ["2001:db8::9"])
    assert ns.getfqdn("192.0.2.9") == name
    assert ns.getnameinfo(("192.0.2.9", 80), 0) == (name, "http")
    assert ns.getnameinfo(("192.0.2.9", 80), ns.NI_NUMERICHOST) == ("192.0.2.9", "http")
    net.config.search = ["home.test"]
    assert ns.getnameinfo(("2001:db8::9", 9999), ns.NI_NOFQDN) == ("six", "9999")
    assert ns.getnameinfo(("192.0.2.8", 9999), 0) == ("192.0.2.8", "9999")
    with pytest.raises(real.gaierror) as caught:
        ns.getnameinfo(("192.0.2.8", 9999), ns.NI_NAMEREQD)
    assert caught.value.errno == ns.EAI_NONAME
    with pytest.raises(real.herror) as herror:
        ns.gethostbyaddr("192.0.2.8")
    assert herror.value.args == (1, "Unknown host")
    net.server.tricks["*"] = lambda server, query, transport: [rcode(query, dns.rcode.SERVFAIL)]
    with pytest.raises(real.herror) as herror:
        ns.gethostbyaddr("192.0.2.7")
    assert herror.value.args == (2, "Host name lookup failure")
    with pytest.raises(real.gaierror) as caught:
        ns.getnameinfo(("192.0.2.7", 9999), 0)
    assert caught.value.errno == ns.EAI_AGAIN


def test_hosts_come_first(net):
    net.server.add("www.test", "A", "192.0.2.7")
    net.resolver.hosts.add("192.0.2.50", "www.test", "www")
    assert lookup(net, "WWW.test") == ["192.0.2.50"]
    assert net.server.questions == []
    assert ns.gethostbyname_ex("www") == ("www.test", ["www"], ["192.0.2.50"])
    assert ns.gethostbyaddr("192.0.2.50") == ("www.test", ["www"], ["192.0.2.50"])
    assert ns.getnameinfo(("192.0.2.50", 80), 0)[0] == "www.test"


def test_our_own_name(net):
    name = real.gethostname()
    assert set(hosts(net.stack.getaddrinfo(name, 80))) == {net.pair.a4, net.pair.a6}
    assert ns.gethostbyaddr(net.pair.a4)[0] == name
    assert ns.getfqdn() == name
    assert net.server.questions == []
    with netstack.Stack() as alone, netstack.using(alone):
        assert ns.gethostbyname(name) == "127.0.0.2"
        assert ns.gethostbyaddr("127.0.0.2")[0] == name


def test_per_stack(www, life):
    other = life.enter_context(netstack.Stack(hosts={"www.test": "10.0.0.1"}))
    with netstack.using(other):
        assert ns.gethostbyname("www.test") == "10.0.0.1"
    assert ns.gethostbyname("www.test") == "192.0.2.9"


def test_closing_the_stack_ends_a_lookup(life, spawn):
    stack = life.enter_context(netstack.Stack(nameservers=["127.0.0.1"]))
    silent = life.enter_context(stack.socket(type=ns.SOCK_DGRAM))
    silent.bind(("127.0.0.1", 53))
    stack.resolver.config.timeout = 60

    def ask():
        with pytest.raises(OSError) as caught:
            stack.getaddrinfo("www.test", 80)
        return caught.value.errno

    asking = spawn(ask)
    silent.recv(1000)
    stack.close()
    assert asking.result() == errno.ESHUTDOWN


def test_asyncio(www):
    import asyncio

    async def ask():
        return await asyncio.get_running_loop().getaddrinfo("four.test", 80, type=ns.SOCK_STREAM)

    netstack.use(www.stack)
    netstack.patch()
    try:
        assert hosts(asyncio.run(ask())) == ["192.0.2.9"]
    finally:
        netstack.unpatch()
        netstack.use(None)
