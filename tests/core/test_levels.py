"""A subject's level out of any text."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cycles
from cycles import level

TAKEN = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def test_it_is_what_the_docs_show():
    """Stored budgets are named by it: it must never change."""
    assert level("Zoë <z@x>") == "zoe-z-x-5a70d4464ef7260b"
    assert level("日本") == "cf2abf0c5be326cb"


def test_another_process_makes_the_same():
    code = "import cycles, sys; sys.stdout.write(cycles.level('Zo\\u00eb <z@x>'))"
    env = {"PYTHONHASHSEED": "1"}
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    assert made == level("Zoë <z@x>")


@given(st.text(min_size=1).filter(str.strip).filter(lambda text: not re.search("[\ud800-\udfff]", text)))
def test_any_text_becomes_a_value_and_stays_it(text):
    value = level(text)
    assert TAKEN.fullmatch(value)
    assert level(value) == value


@pytest.mark.parametrize("text", ["acme", "Bob", "..", "_", "A.b-c_9", "x" * 128])
def test_what_the_protocol_takes_stays_as_it_is(text):
    assert level(text) == text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a b", "a  b"),
        ("a b", "A b"),
        ("zoe@x", "zoë@x"),
        ("x" * 129, "x" * 130),
        ("a@" + "b" * 200 + "1", "a@" + "b" * 200 + "2"),
        ("日本", "本日"),
        ("a/b", "a-b"),
    ],
)
def test_texts_that_read_alike_are_told_apart_whatever_the_case(one, other):
    """An authority compares without the case."""
    assert level(one).lower() != level(other).lower()


def test_the_same_letters_in_another_encoding_are_the_same_text():
    assert level(unicodedata.normalize("NFD", "Zoë <z@x>")) == level("Zoë <z@x>")


@pytest.mark.parametrize(("bad", "says"), [("", "level=''"), (" \n", "not blank"), (7, "not int"), (None, "NoneType")])
def test_what_names_nobody_is_refused(bad, says):
    with pytest.raises(cycles.InvalidRequest, match=says):
        level(bad)


def test_what_utf8_can_not_carry_is_refused():
    with pytest.raises(cycles.InvalidRequest, match="surrogate"):
        level("\ud800")
