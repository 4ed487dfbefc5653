"""Long texts in parts, and messages as text."""

import re

import pytest
from hypothesis import given, settings, strategies as st

from clawproto.text import LEAST_LIMIT, render_text, split_text
from clawproto.wire.values import Fragment, MediaFragment, MentionFragment, TextFragment, UnknownFragment

FENCE_LINE = re.compile(r" {0,3}(`{3,}|~{3,})[^`\n]*")


def is_balanced(part: str) -> bool:
    """Whether every fence that a part opens is closed in it."""
    own = ""
    for line in part.split("\n"):
        match = re.fullmatch(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)", line.rstrip("\r"))
        if match is None:
            continue
        marks, info = match[1], match[2].strip()
        if not own:
            own = marks
        elif not info and marks[0] == own[0] and len(marks) >= len(own):
            own = ""
    return not own


def content(text: str) -> str:
    """What must not get lost: everything but white space and fence lines."""
    lines = [line for line in text.split("\n") if not FENCE_LINE.fullmatch(line.rstrip("\r"))]
    return re.sub(r"\s", "", "".join(lines))


def test_a_short_text_is_one_part() -> None:
    assert split_text("hello") == ("hello",)
    assert split_text("a" * 4000) == ("a" * 4000,)
    assert split_text("") == split_text("\n \n") == ()


@pytest.mark.parametrize("limit", [0, -1, LEAST_LIMIT - 1])
def test_a_limit_that_is_too_small(limit: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        split_text("x", limit)


def test_paragraphs_are_kept_together() -> None:
    one, two, three = "a " * 20, "b " * 20, "c " * 20
    assert split_text(f"{one}\n\n{two}\n\n{three}", 100) == (f"{one}\n\n{two}", three)


def test_lines_come_before_sentences_and_sentences_before_words() -> None:
    lines = "\n".join(["x" * 30] * 5)
    assert split_text(lines, 64) == ("x" * 30 + "\n" + "x" * 30,) * 2 + ("x" * 30,)
    assert (
        split_text("This is one sentence of some length. " * 4, 80)
        == ("This is one sentence of some length. This is one sentence of some length. ",) * 2
    )
    parts = split_text("word " * 40, 64)
    assert all(part.split() == ["word"] * len(part.split()) for part in parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        # what fits to the last character stays together
        (f"{'a' * 30}\n{'c' * 33}", (f"{'a' * 30}\n{'c' * 33}",)),
        (f"{'a' * 30}\n{'c' * 34}", ("a" * 30, "c" * 34)),
        (f"{'a' * 30}\n\n{'b' * 32}\n{'c' * 9}", (f"{'a' * 30}\n\n{'b' * 32}", "c" * 9)),
        (f"{'w' * 64}\nz", ("w" * 64, "z")),
        ("w" * 130, ("w" * 64, "w" * 64, "ww")),
        # a paragraph's end is a better place than a line's, unless it is in the first half
        (f"{'p' * 40}\n\n{'q' * 20}\n{'r' * 30}", ("p" * 40, f"{'q' * 20}\n{'r' * 30}")),
        (f"{'p' * 31}\n\n{'q' * 20}\n{'r' * 40}", ("p" * 31, f"{'q' * 20}\n{'r' * 40}")),
        (f"{'p' * 20}\n\n{'q' * 20}\n{'r' * 40}", (f"{'p' * 20}\n\n{'q' * 20}", "r" * 40)),
        # so is a sentence's end, unless it is in the first half
        (f"{'x' * 31}. {'y' * 60}", (f"{'x' * 31}. ", "y" * 60)),
        (f"{'x' * 30}. {'y' * 60}", (f"{'x' * 30}. {'y' * 32}", "y" * 28)),
        # white space is no part, and none is left at the beginning of one
        (" " * 70, ()),
        ("\n" * 70 + "x", ("x",)),
        (f"x{' ' * 70}y", (f"x{' ' * 63}", "y")),
        # a code block: opened and closed in every part, all of which are full
        (f"```py\n{'c' * 150}\n```\nafter", (f"```py\n{'c' * 54}\n```",) * 2 + (f"```py\n{'c' * 42}\n```\nafter",)),
        (f"intro\n```py\n{'d' * 60}\n```", (f"intro\n```py\n{'d' * 48}\n```", f"```py\n{'d' * 12}\n```")),
        (f"{'k' * 50}\n```py\n{'d' * 50}\n```\nend", ("k" * 50, f"```py\n{'d' * 50}\n```\nend")),
        (
            f"```py\n{'c = 1' + chr(10)}" + "c = 1\n" * 10 + "```",
            ("```py\n" + "c = 1\n" * 9 + "```", "```py\nc = 1\nc = 1\n```"),
        ),
        # a line that fits into a part of its own is not cut, one character more is, and then no room is wasted
        (f"aa\n{'b' * 64}", ("aa", "b" * 64)),
        (f"aa\n{'b' * 65}", (f"aa\n{'b' * 61}", "bbbb")),
        (f"```py\naa\n{'d' * 54}\n```", ("```py\naa\n```", f"```py\n{'d' * 54}\n```")),
        (f"```py\naa\n{'d' * 55}\n```", (f"```py\naa\n{'d' * 51}\n```", "```py\ndddd\n```")),
        (f"{'a' * 47}\n{'b' * 65}", (f"{'a' * 47}\n{'b' * 16}", "b" * 49)),
        (f"{'a' * 48}\n{'b' * 65}", ("a" * 48, "b" * 64, "b")),
        # in code a word's end is a better place than a sentence's
        (
            f"```\n{'x' * 30}. {'y' * 10} {'z' * 40}\n```",
            (f"```\n{'x' * 30}. {'y' * 10} \n```", f"```\n{'z' * 40}\n```"),
        ),
        # the line that ends a block is made shorter where it would not fit, and always belongs to the block
        (f"```\n{'c' * 56}\n``` ", (f"```\n{'c' * 56}\n```",)),
        (f"```\n{'c' * 55}\n``` \nend", (f"```\n{'c' * 55}\n``` ", "end")),
        (f"```\ncc\n{'`' * 200}\nend", ("```\ncc\n```\nend",)),
        (f"  ~~~\n{'c' * 52}\n~~~~~~\nend", (f"  ~~~\n{'c' * 52}\n  ~~~", "end")),
        # what people see as one character
        (f"e{chr(0x301) * 100}", (f"e{chr(0x301) * 63}", chr(0x301) * 37)),  # unless it takes more than half a part
        ("🇩🇪" * 40, ("🇩🇪" * 32, "🇩🇪" * 8)),
        ("👩\u200d👩\u200d👧" * 13, ("👩\u200d👩\u200d👧" * 12, "👩\u200d👩\u200d👧")),
    ],
)
def test_where_a_text_is_cut(text: str, parts: tuple[str, ...]) -> None:
    assert split_text(text, 64) == parts


@pytest.mark.parametrize(
    "cluster",
    [
        "👍🏻",
        "👍🏿",
        "🇦🇦",
        "🇿🇿",
        "🇦🇦\u20dd",
        "a\u20dd",
        "a\u0488",
        "a\u0903",
        "a\u034f",
        "a\ufe0e",
        "a\ufe0f",
        "1\u20e3",
    ],
)
def test_the_first_and_the_last_of_what_joins(cluster: str) -> None:
    for shift in 0, 1, 2:
        parts = split_text("x" * shift + cluster * 70, 64)
        assert len(parts) > 1 and not any(part.lstrip("x").replace(cluster, "") for part in parts)


def test_a_block_whose_first_line_takes_more_than_half_of_a_part_is_no_block() -> None:
    longest = "```" + "a" * 24  # it and its end: 32 characters with their line ends
    code = "c" * 32
    assert split_text(f"{longest}\n{code * 2}\n```", 64) == (f"{longest}\n{code}\n```",) * 2
    assert not split_text(f"{longest}a\n{code * 2}\n```", 64)[1].startswith("```a")


def test_a_block_ends_with_marks_of_its_kind_only() -> None:
    code = "c\n" * 40
    parts = split_text(f"```\n~~~\n{code}~~~\n`~`\n```\n{code}", 64)
    assert all(map(is_balanced, parts)) and parts[1].startswith("```\n") and parts[-1].startswith("c")


def test_a_line_end_of_another_kind_is_part_of_the_line() -> None:
    parts = split_text("```py\r\n" + "c = 1\r\n" * 20 + "```\r\nend", 64)
    assert all(map(is_balanced, parts)) and parts[1].startswith("```py\r\nc = 1\r\n") and parts[-1].endswith("end")


def test_a_cut_before_a_tab_keeps_the_tab() -> None:
    assert split_text("w" * 64 + "\tz", 64) == ("w" * 64, "\tz")


def test_what_a_part_begins_and_ends_with_stays() -> None:
    assert split_text("X" * 40 + "\n" + "X" * 40, 64) == ("X" * 40, "X" * 40)


def test_a_short_text_keeps_its_blanks_but_no_lines_around_it() -> None:
    assert split_text("\n\n  two words \n") == ("  two words ",)
    assert split_text("X\n") == ("X",)


def test_a_code_block_is_closed_and_opened_again() -> None:
    code = "\n".join(f"line {number}" for number in range(30))
    parts = split_text(f"Look:\n\n```python\n{code}\n```\n\nThat was it.", 120)
    assert len(parts) > 2
    assert all(map(is_balanced, parts))
    assert all(part.startswith("```python\n") for part in parts[1:-1])
    assert all(part.endswith("\n```") for part in parts[:-1])
    assert [number for part in parts for number in re.findall(r"line (\d+)", part)] == [str(n) for n in range(30)]
    assert parts[-1].endswith("That was it.")


@pytest.mark.parametrize("fence", ["```", "~~~", "````", "   ```", "~~~~~"])
def test_any_fence_is_closed_with_its_own_marks(fence: str) -> None:
    inner = "```" if fence.strip() != "```" else "~~~"
    text = f"{fence}\n" + f"{inner}\n" + "x y z\n" * 40 + f"{inner}\n{fence.strip()}\nend"
    parts = split_text(text, 80)
    assert all(map(is_balanced, parts))
    assert content(text) == content("\n".join(parts))


def test_a_block_that_is_never_closed_is_closed_in_every_part() -> None:
    parts = split_text("~~~ sh\n" + "echo hello\n" * 30, 100)
    assert all(map(is_balanced, parts)) and len(parts) > 3
    assert all(part.startswith("~~~ sh\n") for part in parts)


def test_white_space_in_code_survives_a_long_line() -> None:
    line = "    " + "f(x)  +  " * 30
    parts = split_text(f"```\n{line}\n```", 80)
    assert all(map(is_balanced, parts))
    assert "".join(part.removeprefix("```\n").removesuffix("\n```") for part in parts) == line


def test_a_line_that_only_looks_like_a_fence() -> None:
    text = "`````inline`code`\n" + "word " * 30
    assert all("word" in part for part in split_text(text, 80))


@pytest.mark.parametrize("cluster", ["👩‍👩‍👧‍👦", "🇩🇪", "é", "👍🏽", "❤️", "नि"])
def test_what_is_seen_as_one_character_stays_together(cluster: str) -> None:
    for shift in range(len(cluster) + 1):
        parts = split_text("x" * shift + cluster * 60, 70)
        assert "".join(parts) == "x" * shift + cluster * 60
        for part in parts:
            assert part.lstrip("x").replace(cluster, "") == ""


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.text(alphabet="ab .\n", max_size=60),
            st.sampled_from(["```", "~~~", "```py", "````", "  ~~~", "\n\n", "# t", "    x", "`a`", "\r\n", "```a`b"]),
            st.text(max_size=20),
        ),
        max_size=40,
    ).map("\n".join),
    st.integers(LEAST_LIMIT, 200),
)
def test_any_text(text: str, limit: int) -> None:
    parts = split_text(text, limit)
    assert all(0 < len(part) <= limit and part.strip() for part in parts)
    assert content("\n".join(parts)) == content(text)
    if len(parts) > 1:
        assert all(map(is_balanced, parts))
    if len(text) <= limit:
        assert len(parts) <= 1


def test_a_megabyte_is_no_trouble() -> None:
    text = ("word " * 200 + "\n") * 500 + "```\n" + "x" * 500_000 + "\n```\n" + "`" * 1000 + "🇩🇪" * 1000
    parts = split_text(text)
    assert max(map(len, parts)) <= 4000
    assert content("\n".join(parts)).count("x") == 500_000


@pytest.mark.rule("FRAG-3", "MENT-3", "MENT-7")
def test_a_message_as_text() -> None:
    fragments: list[Fragment] = [
        TextFragment("Hi "),
        MentionFragment("usr_1", "Dora"),
        MentionFragment("usr_2"),
        MentionFragment(display="@Tom"),
        MentionFragment("all"),
        MentionFragment(),
        MediaFragment("image", "https://h/1", name="cat.png"),
        MediaFragment("file", "https://h/2"),
        UnknownFragment("poll", {"kind": "poll"}),
    ]
    assert render_text(fragments) == (
        "Hi @Dora@usr_2@Tom@everyone@?[image: cat.png https://h/1][file: https://h/2][unsupported: poll]"
    )
    assert render_text(()) == ""
