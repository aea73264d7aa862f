"""Who a user of an image is, by files that come from anywhere."""

from __future__ import annotations

from plum_agent.engine.users import parse

PASSWD = """root:x:0:0:root:/root:/bin/sh
redis:x:103:111::/var/lib/redis:/usr/sbin/nologin
redis:x:0:0:the second of a name does not count:/:/bin/sh
nologin
:x:1:1::/:
half:x:7
wide:x:4294967295:1::/:
words:x:one:two::/:
minus:x:-1:5::/:
+::::::
"""


def test_names_become_numbers_and_nothing_else_does() -> None:
    assert parse(PASSWD, 2) == {"root": (0, 0), "redis": (103, 111)}
    assert parse("staff:x:50:ann,bob\nbroken\n", 1) == {"staff": (50,)}
    assert parse("\x00\ufffd", 2) == {}
