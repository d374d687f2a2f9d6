"""Encodings, lines and edits of files."""

import codecs
import io
import pkgutil
import tokenize
from encodings import __path__ as codec_folder
from encodings.aliases import aliases
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textagent_gym.envs.swe.interfaces.shell import Shell
from textagent_gym.envs.swe.interfaces.tools import Toolbox
from textagent_gym.envs.swe.repo.text import (
    ENCODINGS,
    declared_encoding,
    encoded,
    encoding_of,
    is_listed,
    lines_of,
    python_lines,
    replace_once,
    shown_lines,
    with_line_ends_of,
)
from textagent_gym.envs.swe.repo.tree import as_text, patch_bytes, patch_texts
from textagent_gym.envs.swe.repo.workspace import Workspace

PIECES = st.lists(st.sampled_from(["a", "b", "ab", "\n", " "]), max_size=12).map("".join)
ODD = st.text(alphabet="a\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")


@given(ODD)
def test_lines_end_at_line_feeds(text: str) -> None:
    assert "".join(lines_of(text)) == text
    assert len(lines_of(text)) == text.count("\n") + (not text.endswith("\n") and text != "")
    assert [line.removesuffix("\r") for line in text.split("\n")][: len(lines_of(text))] == shown_lines(text)


@given(st.text(alphabet="a#\n\r\x0c"))
def test_lines_of_python_are_those_of_its_tokenizer(text: str) -> None:
    lines = python_lines(text)
    assert "".join(lines) == text
    assert [line.rstrip("\r\n") for line in lines] == [line.decode() for line in text.encode().splitlines()]


def test_a_file_is_decoded_as_python_decodes_it() -> None:
    for encoding in ("utf-8", "utf-8-sig", "latin-1", "cp1252", "koi8-r", "shift_jis", "gbk"):
        word = {"koi8-r": "\u0434", "shift_jis": "\u30c6", "gbk": "\u4e2d"}.get(encoding, "\u00e9")
        content = f"#!/usr/bin/python\n# -*- coding: {encoding.removesuffix('-sig')} -*-\nx = '{word}'\n".encode(
            encoding
        )
        named, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        assert as_text(content) == content.decode(named)


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"", "utf-8"),
        (b"plain", "utf-8"),
        (b"a\0b", None),
        (b"\x89PNG\x1a\n\xff", None),
        ("é".encode(), "utf-8"),
        ("é\n".encode("latin-1"), "latin-1"),
        ("# coding: rot13\né".encode("latin-1"), "latin-1"),
        ("# coding: no-such\né".encode("latin-1"), "latin-1"),
        ("# coding: utf-8\né".encode("latin-1"), "latin-1"),
        ("é".encode("utf-16"), None),
    ],
)
def test_what_is_text_is_known(content: bytes, encoding: str | None) -> None:
    assert encoding_of(content) == encoding


def test_encodings_that_files_may_declare_read_ascii_as_it_is() -> None:
    ascii_text = bytes(range(128))
    for name in ENCODINGS:
        assert ascii_text.decode(name) == ascii_text.decode("ascii")
        assert is_listed(codecs.lookup(name).name)


def test_a_declaration_is_read_as_python_reads_it() -> None:
    for head in (
        b"# coding: latin-1\n",
        b"# vim: fileencoding=ISO_8859-1 :\r",
        b"#!/usr/bin/python\r\n# coding: l1\r\n",
        b"# coding: iso-8859-1-unix\n",
        b"\r# coding: utf-8-dos\n",
        b"# coding: koi8-r\n# coding: utf-8\n",
    ):
        lines = head.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        named, _ = tokenize.detect_encoding(io.BytesIO(lines).readline)
        assert codecs.lookup(declared_encoding(head) or "").name == codecs.lookup(named).name


@pytest.mark.attack
@pytest.mark.parametrize("body", ["\xe9", "\xe9" * 300, "\u4e00.\u4e00", "..\xdf" * 70, "\U0001f600\u200d", "\ud800"])
def test_whatever_encoding_a_file_declares_it_is_written_or_refused_by_a_sentence(body: str) -> None:
    for name in {*(module.name for module in pkgutil.iter_modules(codec_folder)), *aliases, "utf-8-x", "no-such", "."}:
        text = f"# coding: {name}\n{body}\n"
        box = Toolbox(workspace := Workspace({}), cast(Shell, None))
        answer = box.call("edit", {"path": "a.py", "old": "", "new": text})
        assert answer.valid or (is_listed(name) and "which has no" in answer.text)
        if answer.valid:
            content = workspace.files["a.py"]
            assert is_listed(name) or content == text.encode("utf-8", "replace")
            assert encoded(as_text(content) or "", content) == content


@given(st.binary())
def test_text_gives_its_bytes_back(content: bytes) -> None:
    text = as_text(content)
    assert text is None or encoded(text, content) == content or b"coding" in content
    assert all(patch_bytes(text) == content for text in patch_texts({"x": content}).values())


@given(PIECES, PIECES, PIECES)
def test_an_edit_of_a_file_with_carriage_returns_is_that_of_one_without(text: str, old: str, new: str) -> None:
    plain, other = replace_once(text, old or "a", new), replace_once(text.replace("\n", "\r\n"), old or "a", new)
    if isinstance(plain, int):
        assert plain == other
        assert ((text if text.endswith("\n") else text + "\n").count(old or "a") == 0) == (plain == 0)
        return
    assert not isinstance(other, int)
    assert other.line == plain.line
    if "\n" in text:
        assert other.text == plain.text.replace("\n", "\r\n")
    if (old or "a") in text:
        kept = text.replace(old or "a", new)
        assert plain.text.rstrip("\n") == kept.rstrip("\n")
        assert not text.endswith("\n") or plain.text.endswith("\n") or not plain.text


@given(st.lists(st.sampled_from(["a\n", "b\r\n", "c\n", "c\r\n"]), min_size=1), st.data())
def test_lines_that_are_not_replaced_keep_their_ends(lines: list[str], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(lines)))
    lines.insert(place, end := data.draw(st.sampled_from(["x\n", "x\r\n"])))
    edited = replace_once("".join(lines), "x\n", "y\nz\n")
    assert not isinstance(edited, int)
    lines[place : place + 1] = [end.replace("x", "y"), end.replace("x", "z")]
    assert edited == ("".join(lines), place + 1)


def test_final_line_feeds_stay() -> None:
    def after(text: str, old: str, new: str) -> str:
        edited = replace_once(text, old, new)
        assert not isinstance(edited, int)
        return edited.text

    assert after("a\nb", "b\n", "c\n") == "a\nc"
    assert after("a\nb", "b\n", "c") == "a\nc"
    assert after("a\nb", "a\nb\n", "c\nd\n") == "c\nd"
    assert after("a\nb", "b", "b\n") == "a\nb\n"
    assert after("a\r\nb", "b\n", "c\nd\n") == "a\r\nc\r\nd"
    assert after("a\nb\n", "b\n", "c") == "a\nc\n"
    assert after("a\nb\n", "b\n", "") == "a\n"
    assert after("a\n", "a\n", "") == ""


def test_a_new_text_takes_the_line_ends_of_the_old_one() -> None:
    assert with_line_ends_of("a\nb\n", "x\r\n") == "a\r\nb\r\n"
    assert with_line_ends_of("a\r\nb\n", "x\r\n") == "a\r\nb\r\n"
    for before in ("", "x", "x\n", "x\ny\r\n"):
        assert with_line_ends_of("a\nb\r\n", before) == "a\nb\r\n"
