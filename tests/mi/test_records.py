"""MI records and quoting: what gdb may print, and what must never hang or raise."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gdbflash.errors import InputError
from gdbflash.mi.client import Record, c_string, parse_record

# What may stand in a name: no lone surrogates but those of undecodable bytes, which os.fsencode takes.
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("line", "record"),
    [
        ("(gdb) ", Record("prompt")),
        ("7^done", Record("result", "done", {}, 7, "7^done")),
        (
            '12^error,msg="Cannot access memory at address 0xa0000000"',
            Record(
                "result",
                "error",
                {"msg": "Cannot access memory at address 0xa0000000"},
                12,
                '12^error,msg="Cannot access memory at address 0xa0000000"',
            ),
        ),
        (
            '*stopped,frame={addr="0x4",args=[]},stopped-threads="all"',
            Record(
                "notify",
                "stopped",
                {"frame": {"addr": "0x4", "args": []}, "stopped-threads": "all"},
                None,
                '*stopped,frame={addr="0x4",args=[]},stopped-threads="all"',
            ),
        ),
        (
            '3^done,register-values=[{number="0",value="0xc"},{number="15",value="0x4"}]',
            Record(
                "result",
                "done",
                {"register-values": [{"number": "0", "value": "0xc"}, {"number": "15", "value": "0x4"}]},
                3,
                '3^done,register-values=[{number="0",value="0xc"},{number="15",value="0x4"}]',
            ),
        ),
        (r'~"a\n\"b\"\t\303\251"', Record("console", text='a\n"b"\té')),
        (r'&"warning: restore: memory write failed\n"', Record("log", text="warning: restore: memory write failed\n")),
        (r'@"7.2.22\r\n"', Record("target", text="7.2.22\r\n")),
        ("gdb: out of memory", Record("output", text="gdb: out of memory")),
    ],
)
def test_records_of_gdb(line: str, record: Record) -> None:
    assert parse_record(line) == record
    assert parse_record(line + "\r") == record


@pytest.mark.parametrize(
    "line",
    [
        "1^done,memory=[",  # pygdbmi's parser does not end on this
        "1^done,memory=[{",
        '1^done,msg="open',
        "1^done,msg=bare",
        '1^done,a="b"]',
        '1^done,a={"b"}',
        '1^done,a=["b",c="d"',
        '1^done,msg="\\q"',  # no such escape
        "1^done," + "a=" + "[" * 5000 + "]" * 5000,
        '*stopped"1",xt",fun,register-values=[{num,args=x]},thread-i=d"1d="1"',  # strings where none may be
        "1^doneS,a=S",
        "1^done,a=\1",
        '~"open',
        "1^",
        "^",
        "",
    ],
)
def test_a_damaged_record_is_output_and_no_record(line: str) -> None:
    assert parse_record(line) == Record("output", text=line)


@given(st.text(st.sampled_from('0129^*=~@&,{}[]"\\abc-n\n .')))
@example("0^a,a=[]" * 3)
def test_no_line_hangs_or_raises(line: str) -> None:
    assert parse_record(line).kind in {"result", "notify", "console", "log", "target", "prompt", "output"}


VALUES: st.SearchStrategy[object] = st.recursive(
    NAMES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.from_regex(r"[a-z][a-z-]{0,5}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=8,
)


def written(value: object) -> str:
    if isinstance(value, str):
        return c_string(value)
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    assert isinstance(value, dict)
    return "{" + ",".join(f"{key}={written(inner)}" for key, inner in value.items()) + "}"


@given(st.dictionaries(st.from_regex(r"[a-z][a-z-]{0,5}", fullmatch=True), VALUES, min_size=1, max_size=3))
def test_what_is_written_by_the_grammar_is_read_back(payload: dict[str, object]) -> None:
    line = "5^done," + written(payload)[1:-1]
    assert parse_record(line) == Record("result", "done", payload, 5, line)  # type: ignore[arg-type]


@given(NAMES)
def test_quoting_round_trip(text: str) -> None:
    quoted = c_string(text)
    assert all(0x20 <= ord(character) < 0x7F for character in quoted)
    assert parse_record("~" + quoted) == Record("console", text=text)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('a "b" c', r'"a \"b\" c"'),
        ("back\\slash", r'"back\\slash"'),
        ("new\nline", r'"new\012line"'),
        ("é", r'"\303\251"'),
        ("\udcff", r'"\377"'),  # a byte of a file name that is no UTF-8
        ("", '""'),
    ],
)
def test_quoting(text: str, quoted: str) -> None:
    assert c_string(text) == quoted


def test_nul_cannot_be_quoted() -> None:
    with pytest.raises(InputError, match="NUL"):
        c_string("a\0b")
