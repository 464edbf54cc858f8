"""Lines as they come, made up: events in every spelling, what stands in front of them, garbage, blanks."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

#: 2021-09-26T13:46:24Z, when all of them arrive.
ARRIVED = 1_632_663_984

EVENT = b'{"event_type":"foo","data":"lorem ipsum"}'

names = (
    st.sampled_from(["foo", "bar", "", "żółć", "\U0001f600", "a b", 'quo"te', "back\\slash", "}\n{"])
    | st.text("aeé\u0301\u0323\u093f\u0939\u1112\u1161\u200d\u212b '-\ufeff\ufe0f", max_size=8)
    | st.text(max_size=8)
)
times = (
    st.none()
    | st.sampled_from(
        ["1990-12-31T23:59:60Z", "2016-12-31T15:59:60.75-08:00", "2017-01-01T05:29:60+05:30", "2016-12-31T23:58:60Z"]
    )
    | st.integers(-(10**10), 10**10)
    | st.integers(ARRIVED - 200, ARRIVED + 4000)
    | st.floats(-1e9, 1e10, allow_nan=False)
    | st.sampled_from(["2021-09-26T13:46:24Z", "2021-09-26T13:46:24.25+02:00", "1969-12-31T23:59:59Z"])
)


padding = st.sampled_from([b"", b" ", b"\t"]) | st.lists(
    st.sampled_from([b"\x00", b"\xef\xbb\xbf", b" ", b"\x00" * 50, b"\xef\xbb", b'{"event_type":"fo\x00']), max_size=3
).map(b"".join)


@st.composite
def events(draw: st.DrawFn) -> bytes:
    fields: dict[str, Any] = {"event_type": draw(names), "data": draw(names)}
    if draw(st.booleans()):
        fields["timestamp"] = draw(times)
    if draw(st.booleans()):
        fields["other"] = draw(st.sampled_from([1, None, [{}], {"event_type": 5}, "}\n{", [["\r\n"]]]))
    order = draw(st.permutations(list(fields)))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " : ")]))
    text = json.dumps({name: fields[name] for name in order}, ensure_ascii=draw(st.booleans()), separators=separators)
    return draw(padding) + text.encode() + draw(st.sampled_from([b"", b"\r", b" "]))


garbage = st.sampled_from(
    [
        b"{",
        b"}",
        b"{}",
        b"[]",
        b"[" + EVENT + b"]",
        EVENT + EVENT,
        EVENT[:-1],
        EVENT[:20],
        EVENT[20:],
        b"\xef\xbb\xbf" + EVENT,
        b'{"event_type":1,"data":"a"}',
        b'{"event_type":"a","data":"a","timestamp":true}',
        b"\xff\x00",
        EVENT + b"\x00" + EVENT,
        EVENT + b"\xef\xbb\xbf" + EVENT,
        EVENT[:20] + b"\x00" + EVENT[:20] + b"\x00\x00" + EVENT,
    ]
) | st.binary(max_size=12).filter(lambda line: b"\n" not in line)
blank = st.sampled_from([b"", b" ", b"\r", b"\t \r", b"\x00", b"\xef\xbb\xbf\r", b" \x00\x00 "])
